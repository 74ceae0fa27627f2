#!/usr/bin/env bash
# Configures, as the Dockerfile does, a copy of what the Dockerfile copies: a folder that its build
# needs and that it does not copy is found without building an image.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# COPY lines of sources: all words but the first and the last.
mapfile -t sources < <(sed -n '/^COPY --from/d; s/^COPY \(.*\) [^ ]*$/\1/p' Dockerfile | tr ' ' '\n')
cp -r "${sources[@]}" "$work"
cd "$work"
cmake --preset release -DLOSSD_TESTS=OFF > configure.log 2>&1 || {
  tail -n 12 configure.log >&2
  echo "image: the Dockerfile's sources do not configure" >&2
  exit 1
}
echo "image: ${#sources[@]} sources configure"

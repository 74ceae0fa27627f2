#!/usr/bin/env bash
# Projects outside use the libraries: installed, by CMake and by pkg-config, and as a subproject.
#   outside.sh BUILD_DIRECTORY [--full]
# --full builds the client of the subproject too, which compiles the whole wire.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
# shellcheck source=scripts/serve.bash
. "$root/scripts/serve.bash"
scratch=$(mktemp -d)
trap 'end_server; rm -rf "$scratch"' EXIT
serve "$build/bin" 127.0.0.1:0 "$scratch/log"
try() { # DIRECTORY
  "$1/outside_core" > "$scratch/out"
  "$1/outside_client" "$address" >> "$scratch/out"
  [ "$(uniq "$scratch/out" | wc -l)" = 1 ] || { cat "$scratch/out"; exit 1; }
}

cmake --install "$build" --prefix "$scratch/prefix" > /dev/null
[ -x "$scratch/prefix/bin/lossd" ] && [ -x "$scratch/prefix/bin/lossctl" ]
cmake -G Ninja -S "$root/tests/install/installed" -B "$scratch/installed" \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" > /dev/null
cmake --build "$scratch/installed" -- --quiet
try "$scratch/installed"
echo "outside: find_package"

mkdir "$scratch/plain"
pc=$(find "$scratch/prefix" -name lossd.pc -printf %h)
for program in core client; do
  read -ra flags <<< "$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs lossd)"
  c++ "$root/tests/install/$program.cc" -o "$scratch/plain/outside_$program" "${flags[@]}"
done
try "$scratch/plain"
echo "outside: pkg-config"

cmake -G Ninja -S "$root/tests/install/subproject" -B "$scratch/subproject" \
  -DLOSSD_SOURCE="$root" -DCMAKE_BUILD_TYPE=Debug > /dev/null
if [ "${2:-}" = --full ]; then
  cmake --build "$scratch/subproject" -- --quiet
  try "$scratch/subproject"
else
  cmake --build "$scratch/subproject" --target outside_core -- --quiet
  "$scratch/subproject/outside_core" > "$scratch/out"
fi
echo "outside: add_subdirectory"

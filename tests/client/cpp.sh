#!/usr/bin/env bash
# The conformance vectors through the C++ client; its other tests are among those of CMake.
#   cpp.sh BIN_DIRECTORY RESULTS
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/serve.bash
scratch=$(mktemp -d)
trap 'end_server; rm -rf "$scratch"' EXIT
serve "$1" 127.0.0.1:0 "$scratch/log"
"$1/cpp_conformance" "$address" > "$scratch/hex"
python3 - "$scratch/hex" > "$2" << 'END'
import hashlib
import sys

for line in open(sys.argv[1]):
    name, way, results = line.rstrip("\n").split(" ")
    print(name, way, hashlib.sha256(bytes.fromhex(results)).hexdigest())
END

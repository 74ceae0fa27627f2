#!/usr/bin/env bash
# The conformance vectors through the Python client; pytest runs its other tests.
#   python.sh BIN_DIRECTORY RESULTS
set -euo pipefail
cd "$(dirname "$0")/../.."
results=$(realpath "$2")
LOSSD_BIN=$(realpath "$1") CONFORMANCE_RESULTS=$results \
  build/venv/bin/pytest -q client/python/tests/test_conformance.py -k same_bits > "$results.log" ||
  { cat "$results.log" >&2; exit 1; }
rm -f "$results.log"

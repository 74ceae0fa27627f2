#!/usr/bin/env bash
# Fails where core/ or server/engine/ includes protobuf, gRPC or generated messages. The check is
# first tried on a file that does, so that it cannot rot into one that never fails.
set -euo pipefail
cd "$1"
pattern='#include *[<"](grpc|google/|proto/|lossd/v1/|.*\.pb\.h)'
printf '#include <grpcpp/grpcpp.h>\n' | grep -qE "$pattern" || { echo "the check itself is broken"; exit 1; }
if grep -rnE "$pattern" core server/engine; then
  echo "core and server/engine must know nothing of the wire"
  exit 1
fi

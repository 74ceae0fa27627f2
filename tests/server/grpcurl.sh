#!/usr/bin/env bash
# grpcurl, a client that knows nothing of lossd, lists the service by reflection and evaluates a worked
# example from JSON with typed values.
#   grpcurl.sh BIN_DIRECTORY GRPCURL
set -euo pipefail
# shellcheck source=scripts/serve.bash
. "$(dirname "$0")/../../scripts/serve.bash"
scratch=$(mktemp -d)
trap 'end_server; rm -rf "$scratch"' EXIT
serve "$1" 127.0.0.1:0 "$scratch/log"
expect() { grep -q -- "$1" <<< "$2" || { printf 'expected %s in:\n%s\n' "$1" "$2"; exit 1; }; }

services=$("$2" -plaintext "$address" list)
expect '^lossd.v1.LossService$' "$services"
expect '^grpc.health.v1.Health$' "$services"
expect 'rpc EvaluateStream' "$("$2" -plaintext "$address" describe lossd.v1.LossService)"
# The descriptor set that it gives is all that protoc needs.
"$2" -plaintext -protoset-out "$scratch/lossd.binpb" "$address" describe lossd.v1.LossService > "$scratch/text"
protoc --descriptor_set_in="$scratch/lossd.binpb" --python_out="$scratch" lossd/v1/service.proto
[ -s "$scratch/lossd/v1/service_pb2.py" ]
answer=$("$2" -plaintext -d '{
  "criterion": {"crossEntropy": {"ignoreIndex": 0}, "reduction": "REDUCTION_NONE"},
  "input": {"shape": [2, 2], "floatValues": {"values": [-0.9390, -0.6169, -0.7700, 0.3602]}},
  "target": {"shape": [2], "int64Values": {"values": [0, 1]}}}' \
  "$address" lossd.v1.LossService/Evaluate)
expect '0.27987' "$answer"
expect '"ignored": "1"' "$answer"
error=$("$2" -plaintext -d '{
  "criterion": {"crossEntropy": {}},
  "input": {"shape": [1, 2], "floatValues": {"values": [1, 2]}},
  "target": {"shape": [1], "int64Values": {"values": [5]}}}' \
  "$address" lossd.v1.LossService/Evaluate 2>&1 || true)
expect 'InvalidArgument' "$error"
expect 'expected a class in \[0, 2)' "$error"
expect 'LABEL_OUT_OF_RANGE' "$error"
expect 'SERVING' "$("$2" -plaintext "$address" grpc.health.v1.Health/Check)"
echo "grpcurl: list, describe, a descriptor set, Evaluate, an error with details, health: passed"

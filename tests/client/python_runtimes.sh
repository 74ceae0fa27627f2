#!/usr/bin/env bash
# The Python client as its users install it: a wheel, built from the source distribution and without the
# repository, into empty environments with the oldest and the newest protobuf and grpcio that it allows.
# In each it evaluates against a running server, by both of protobuf's implementations.
#   tests/client/python_runtimes.sh DIRECTORY_OF_LOSSD [--full]
# --full: the major versions of protobuf in between too. Environments are kept in build/runtimes.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."
. scripts/serve.bash
binaries=$1
full=${2:-}
python=$PWD/build/venv/bin/python
cache=$PWD/build/runtimes
pip() { "$@" --quiet --disable-pip-version-check; }

# The oldest that have wheels for this Python: building grpcio takes an hour.
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
case $minor in
  10 | 11) oldest=(protobuf==4.25.0 grpcio==1.51.1 numpy==1.24.0) middle=(grpcio==1.60.0 grpcio==1.71.0) ;;
  12) oldest=(protobuf==4.25.0 grpcio==1.60.0 numpy==1.26.0) middle=(grpcio==1.62.0 grpcio==1.71.0) ;;
  13) oldest=(protobuf==4.25.0 grpcio==1.66.2 numpy==2.1.0) middle=(grpcio==1.68.0 grpcio==1.71.0) ;;
  *)
    echo "python runtimes: the oldest packages with wheels for Python 3.$minor are not known: add them" >&2
    exit 1
    ;;
esac
oldest+=(googleapis-common-protos==1.60.0)

# build_wheel: prints the path of a wheel of the present sources.
build_wheel() {
  local key dist work
  key=$(cat version.txt proto/lossd/v1/*.proto client/python/{pyproject.toml,MANIFEST.in} \
    client/python/build_backend/*.py client/python/lossd/{,torch/,jax/}*.py tests/client/python_runtimes.sh | sha256sum | cut -c1-16)
  dist=$cache/dist-$key
  if ! compgen -G "$dist/*.whl" > /dev/null; then
    rm -rf "$cache"/dist-*
    "$python" -m build --sdist --outdir "$dist" client/python > "$cache/build.log" 2>&1 ||
      { tail -n 20 "$cache/build.log" >&2; return 1; }
    work=$(mktemp -d)
    tar -xzf "$dist"/*.tar.gz -C "$work"
    # A distribution that lacks its messages must not become a client without them.
    cp -r "$work"/lossd-* "$work/incomplete"
    rm "$work/incomplete/lossd/v1/service_pb2.py"
    if pip "$python" -m pip wheel --no-deps -w "$work" "$work/incomplete" > "$cache/build.log" 2>&1 ||
      ! grep -q 'lacks lossd/v1/service_pb2.py' "$cache/build.log"; then
      tail -n 20 "$cache/build.log" >&2
      echo "python runtimes: a distribution without its messages was not refused" >&2
      return 1
    fi
    pip "$python" -m pip wheel --no-deps -w "$dist" "$work"/lossd-*
    rm -rf "$work"
  fi
  echo "$dist"/*.whl
}

# environment NAME REQUIREMENT...: an environment with the wheel and these.
environment() {
  local venv=$cache/$1
  shift
  if [ "$(cat "$venv/made-from.txt" 2> /dev/null)" != "$minor $*" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    pip "$venv/bin/pip" install --only-binary :all: "$wheel" "$@"
    echo "$minor $*" > "$venv/made-from.txt"
  else
    pip "$venv/bin/pip" install --no-deps --force-reinstall "$wheel"
  fi
  # All that the wheel asks for is there, and nothing else is displeased.
  "$venv/bin/pip" --disable-pip-version-check check > /dev/null
}

# try NAME: evaluates in an environment. -I: nothing of this folder is seen.
try() {
  local implementation
  for implementation in upb python; do
    PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=$implementation \
      "$cache/$1/bin/python" -I -W error::UserWarning tests/client/python_runtimes.py "$address" \
      "$(cat version.txt)" "$implementation"
  done
}

mkdir -p "$cache"
wheel=$(build_wheel)
log=$(mktemp)
trap 'end_server; rm -f "$log"' EXIT
serve "$binaries" 127.0.0.1:0 "$log"

environment oldest "${oldest[@]}"
try oldest
if [ "$full" = --full ]; then
  environment protobuf5 'protobuf==5.29.*' "${middle[0]}"
  try protobuf5
  environment protobuf6 'protobuf==6.*' "${middle[1]}"
  try protobuf6
fi
environment newest types-grpcio types-protobuf
try newest
# The types that were packed, as a user's mypy finds them; grpcio and protobuf have theirs elsewhere.
build/venv/bin/mypy --strict --cache-dir build/mypy-wheel --python-executable "$cache/newest/bin/python" \
  client/python/tests/typed_user.py
echo "python runtimes: passed"

#!/usr/bin/env bash
# Builds the golden hash program for AArch64 and runs it under an emulator: NEON must give the bits
# that x86 gives. A control with the last bit of one entry of exp's table changed must fail.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=build/arm64
mkdir -p $out/include
# Headers of Highway and Abseil alone: the rest of /usr/include is this machine's.
ln -sfn /usr/include/hwy $out/include/hwy
ln -sfn /usr/include/absl $out/include/absl
compile() { # SOURCE_ROOT OUTPUT: the sources under the root, for AArch64, without a shared library.
  aarch64-linux-gnu-g++ -std=c++20 -O2 -ffp-contract=off -DHWY_COMPILE_ONLY_STATIC -static \
    -isystem $out/include -I "$1" "$1/core/passes/row_kernels.cc" "$1"/core/passes/kernels_*.cc \
    "$1/tests/core/golden.cc" -o "$2"
}
compile . $out/golden
qemu-aarch64-static $out/golden
rm -rf $out/control
mkdir -p $out/control/tests
cp -r core $out/control/core
cp -r tests/core $out/control/tests/core
sed -i 's/0x07D424/0x07D425/' $out/control/core/simd/float_vec-inl.h
compile $out/control $out/control/golden
if qemu-aarch64-static $out/control/golden > /dev/null; then
  echo "the control, with a changed constant, gives the same hash: the test sees nothing"
  exit 1
fi
echo "AArch64: the bits of x86; the control differs, as it must"

// Plain loops that measure the memory bandwidth of the machine, to compare kernels with.
#ifndef LOSSD_BENCH_CORE_BANDWIDTH_H_
#define LOSSD_BENCH_CORE_BANDWIDTH_H_

#include <cstddef>

namespace lossd::bench {

/// Reads every byte; the result keeps the reads alive.
float ReadAll(const std::byte* from, size_t bytes);

/// Copies with streaming stores, which do not read the cache lines that they write. REQUIRES: `to`
/// is aligned to 64 bytes and `bytes` is a multiple of 64.
void StreamingCopy(const std::byte* from, size_t bytes, std::byte* to);

}  // namespace lossd::bench

#endif  // LOSSD_BENCH_CORE_BANDWIDTH_H_

// What the machine's memory can do: plain loops to compare kernels with.
#ifndef LOSSD_BENCH_CORE_BANDWIDTH_H_
#define LOSSD_BENCH_CORE_BANDWIDTH_H_

#include <cstddef>

namespace lossd::bench {

/// Reads every byte; the result keeps the reads alive.
float ReadAll(const std::byte* from, size_t bytes);

/// Copies with streaming stores, which do not read the lines that they write. `to` is aligned to 64
/// bytes and `bytes` is a multiple of 64.
void StreamingCopy(const std::byte* from, size_t bytes, std::byte* to);

}  // namespace lossd::bench

#endif  // LOSSD_BENCH_CORE_BANDWIDTH_H_

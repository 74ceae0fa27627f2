// How much memory the process has allocated.
#ifndef LOSSD_SERVER_ENGINE_ALLOCATED_H_
#define LOSSD_SERVER_ENGINE_ALLOCATED_H_

#include <cstdint>

namespace lossd {

/// Bytes, as jemalloc counts them; 0 where the process has another allocator. Some microseconds.
uint64_t AllocatedBytes();

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_ALLOCATED_H_

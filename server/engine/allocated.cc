#include "server/engine/allocated.h"

#include <cstddef>
#include <cstdint>

// jemalloc's, in programs that are linked with it.
extern "C" int mallctl(const char* name, void* old_value, size_t* old_size, void* new_value,
                       size_t new_size) __attribute__((weak));

namespace lossd {

uint64_t AllocatedBytes() {
  if (mallctl == nullptr) return 0;
  // Counts stand still until they are asked for anew.
  uint64_t epoch = 1;
  size_t size = sizeof(epoch);
  if (mallctl("epoch", &epoch, &size, &epoch, size) != 0) return 0;
  size_t bytes = 0;
  size = sizeof(bytes);
  return mallctl("stats.allocated", &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
}

}  // namespace lossd

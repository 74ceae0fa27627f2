// The interface of threads for the tasks of one evaluation.
#ifndef LOSSD_CORE_POOL_H_
#define LOSSD_CORE_POOL_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace lossd {

struct Scratch;

/// Runs tasks [0, count), and returns when all are done. A task gets the scratch memory of its
/// thread.
class Pool {
 public:
  using TaskFunction = absl::FunctionRef<void(int64_t index, Scratch* scratch)>;
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  virtual ~Pool() = default;
  virtual void Run(int64_t count, TaskFunction task) = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_POOL_H_

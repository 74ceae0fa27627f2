// Counts the calls in flight.
#ifndef LOSSD_SERVER_ENGINE_CALL_COUNTER_H_
#define LOSSD_SERVER_ENGINE_CALL_COUNTER_H_

#include <atomic>
#include <utility>

namespace lossd {

/// Counts the calls that a drain waits for. Thread-safe; outlives its handles.
class CallCounter {
 public:
  /// Counts one call for as long as it lives.
  class Handle {
   public:
    Handle() = default;
    /// A null `counter` counts nothing.
    explicit Handle(CallCounter* counter) : counter_(counter) {
      if (counter_ != nullptr) ++counter_->calls_;
    }
    ~Handle() {
      if (counter_ != nullptr) --counter_->calls_;
    }
    Handle(Handle&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
    Handle& operator=(Handle&& other) noexcept {
      std::swap(counter_, other.counter_);
      return *this;
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

   private:
    CallCounter* counter_ = nullptr;
  };

  CallCounter() = default;
  CallCounter(const CallCounter&) = delete;
  CallCounter& operator=(const CallCounter&) = delete;

  [[nodiscard]] int calls() const { return calls_; }

 private:
  std::atomic<int> calls_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_CALL_COUNTER_H_

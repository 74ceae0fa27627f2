// How many calls there are.
#ifndef LOSSD_SERVER_ENGINE_CALL_COUNT_H_
#define LOSSD_SERVER_ENGINE_CALL_COUNT_H_

#include <atomic>
#include <cstdint>

namespace lossd {

/// Thread-safe; outlives its tokens.
class CallCount {
 public:
  /// Counts for as long as it lives. A member of what serves a call.
  class Token {
   public:
    explicit Token(CallCount* count) : count_(count) { ++count_->calls_; }
    ~Token() { --count_->calls_; }
    Token(const Token&) = delete;
    Token& operator=(const Token&) = delete;

   private:
    CallCount* const count_;
  };

  [[nodiscard]] int64_t calls() const { return calls_; }

 private:
  std::atomic<int64_t> calls_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_CALL_COUNT_H_

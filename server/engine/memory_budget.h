// One budget, in bytes, for all memory held by the calls in flight.
#ifndef LOSSD_SERVER_ENGINE_MEMORY_BUDGET_H_
#define LOSSD_SERVER_ENGINE_MEMORY_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// Thread-safe; outlives its reservations.
class MemoryBudget {
 public:
  /// A share of the budget; its destructor gives it back.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(MemoryBudget* budget, uint64_t bytes) : budget_(budget), bytes_(bytes) {}
    Reservation(Reservation&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Reservation& operator=(Reservation&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation() {
      if (budget_ != nullptr) budget_->used_ -= bytes_;
    }

    [[nodiscard]] uint64_t bytes() const { return budget_ == nullptr ? 0 : bytes_; }
    /// Adds `more` bytes to this; the errors are those of Reserve. REQUIRES: made by Reserve.
    absl::Status Grow(uint64_t more);

   private:
    MemoryBudget* budget_ = nullptr;
    uint64_t bytes_ = 0;
  };

  explicit MemoryBudget(uint64_t limit) : limit_(limit) {}

  /// Reserves for a request that already holds `held`. Errors are RESOURCE_EXHAUSTED: reason
  /// MEMORY_LIMIT if the request alone exceeds the limit, or MEMORY_BUSY with a time to wait if
  /// other requests hold too much.
  absl::StatusOr<Reservation> Reserve(uint64_t bytes, const Reservation& held);
  absl::StatusOr<Reservation> Reserve(uint64_t bytes) { return Reserve(bytes, Reservation()); }

  [[nodiscard]] uint64_t limit() const { return limit_; }
  [[nodiscard]] uint64_t used() const { return used_; }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> used_ = 0;
};

/// Sums and products of sizes, clamped to the largest uint64_t on overflow. A peer may state any
/// size; a clamped size exceeds every limit.
uint64_t SaturatingAdd(uint64_t a, uint64_t b);
uint64_t SaturatingMultiply(uint64_t a, uint64_t b);

/// RESOURCE_EXHAUSTED, reason MEMORY_BUSY, with a time to wait.
absl::Status TryLater(absl::string_view message);

/// What a call gets where the machine has less memory than the budget: as TryLater.
absl::Status OutOfMemory();

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_MEMORY_BUDGET_H_

#include "server/engine/memory_budget.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/error.h"

namespace lossd {
namespace {

constexpr double kRetryAfterSeconds = 0.25;

}  // namespace

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<uint64_t>::max() : sum;
}

uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<uint64_t>::max() : product;
}

absl::Status MemoryBudget::Reservation::Grow(uint64_t more) {
  auto added = budget_->Reserve(more, *this);
  if (!added.ok()) return added.status();
  bytes_ += std::exchange(added->bytes_, 0);
  return absl::OkStatus();
}

absl::Status TryLater(absl::string_view message) {
  absl::Status status = absl::ResourceExhaustedError(message);
  SetErrorDetail(&status, {"", "MEMORY_BUSY", kRetryAfterSeconds});
  return status;
}

absl::Status OutOfMemory() { return TryLater("the machine is out of memory"); }

absl::StatusOr<MemoryBudget::Reservation> MemoryBudget::Reserve(uint64_t bytes,
                                                                const Reservation& held) {
  if (bytes > limit_ - held.bytes()) {
    const uint64_t needed = SaturatingAdd(held.bytes(), bytes);
    return WithMetadata(FieldError(absl::StatusCode::kResourceExhausted, "", "MEMORY_LIMIT",
                                   absl::StrCat("the request needs ", needed,
                                                " bytes of memory; expected at most ", limit_)),
                        LimitMetadata("max_memory_bytes", limit_, needed));
  }
  uint64_t used = used_.load();
  while (used <= limit_ - bytes) {
    if (!used_.compare_exchange_weak(used, used + bytes)) continue;
    return Reservation(this, bytes);
  }
  absl::Status busy = absl::ResourceExhaustedError(
      absl::StrCat("requests in flight hold ", used, " of ", limit_,
                   " bytes of memory; this one needs ", bytes, " more"));
  SetErrorDetail(&busy, {"", "MEMORY_BUSY", kRetryAfterSeconds,
                         LimitMetadata("max_memory_bytes", limit_, SaturatingAdd(used, bytes))});
  return busy;
}

}  // namespace lossd

// What a stream has received of each operand, and whether that may be: order, lengths, skew.
#ifndef LOSSD_SERVER_ENGINE_STREAM_INTAKE_H_
#define LOSSD_SERVER_ENGINE_STREAM_INTAKE_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/problem/plan.h"
#include "server/engine/stream_unit.h"

namespace lossd {

/// Errors name the operand at fault. Not thread-safe.
class StreamIntake {
 public:
  StreamIntake(const Plan& plan, const UnitLayout& layout, int64_t max_skew_bytes);

  /// Counts `bytes` more of an operand, at least one: an error where they pass its end, or come
  /// before a weight that is not whole.
  absl::Status Take(Operand operand, size_t bytes);
  /// To be asked once input bytes have been counted: an error where one of them belongs to a
  /// sample whose labels are not all among the `labelled` positions that have theirs.
  [[nodiscard]] absl::Status CheckLabelsLead(int64_t labelled) const;
  /// An error where one operand is too far ahead of another.
  [[nodiscard]] absl::Status CheckSkew() const;
  /// For a stream whose sender has closed it: an error where an operand is not whole.
  [[nodiscard]] absl::Status CheckEnd() const;

  [[nodiscard]] int64_t received(Operand operand) const {
    return received_[static_cast<size_t>(operand)];
  }
  [[nodiscard]] int64_t total(Operand operand) const {
    return total_[static_cast<size_t>(operand)];
  }
  /// Whether all of an operand is here; true of one that the header does not announce.
  [[nodiscard]] bool Whole(Operand operand) const { return received(operand) == total(operand); }

 private:
  const UnitLayout layout_;
  const int64_t max_skew_bytes_;
  const int64_t positions_;
  const bool labels_first_;  // All of them before any input.
  std::array<int64_t, kOperands> total_{};
  std::array<int64_t, kOperands> received_{};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_STREAM_INTAKE_H_

// Counts the bytes a stream has received of each operand, and checks their order, length and skew.
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

  /// Counts `bytes` more of an operand, at least one. An error if they pass the operand's end, or
  /// come before the weight is complete.
  absl::Status Take(Operand operand, size_t bytes);
  /// To be called after input bytes have been counted. The first `labelled` positions have their
  /// labels; an error if a sample with input bytes has positions beyond them.
  [[nodiscard]] absl::Status CheckLabelsLead(int64_t labelled) const;
  /// An error if one operand is too far ahead of another.
  [[nodiscard]] absl::Status CheckSkew() const;
  /// To be called when the sender has closed the stream: an error if an operand is incomplete.
  [[nodiscard]] absl::Status CheckEnd() const;

  [[nodiscard]] int64_t received(Operand operand) const {
    return received_[static_cast<size_t>(operand)];
  }
  [[nodiscard]] int64_t total(Operand operand) const {
    return total_[static_cast<size_t>(operand)];
  }
  /// Whether an operand is complete; true for an operand that the header does not announce.
  [[nodiscard]] bool Whole(Operand operand) const { return received(operand) == total(operand); }

 private:
  const UnitLayout layout_;
  const int64_t max_skew_bytes_;
  const int64_t positions_;
  const bool labels_first_;  // All labels must precede any input.
  std::array<int64_t, kOperands> total_{};
  std::array<int64_t, kOperands> received_{};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_STREAM_INTAKE_H_

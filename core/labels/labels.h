// Class indices of a problem: checked as they arrive, kept in the narrowest type that holds them.
#ifndef LOSSD_CORE_LABELS_LABELS_H_
#define LOSSD_CORE_LABELS_LABELS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/buffer.h"
#include "core/problem/plan.h"

namespace lossd {

class Pool;

/// The labels of all positions, filled front to back. One thread appends; others may read any
/// position below what they know to be filled (with their own synchronization of that knowledge).
class Labels {
 public:
  /// REQUIRES: plan.target_kind() == kClassIndex; `plan` outlives this.
  explicit Labels(const Plan& plan);

  /// Bytes that the labels of `plan` take once stored.
  static uint64_t StoredBytes(const Plan& plan);
  /// Bytes of the counts by class.
  static uint64_t CountBytes(const Plan& plan);

  /// Appends little-endian elements of the target's dtype, cut anywhere. A label outside [0, C)
  /// that is not ignore_index is INVALID_ARGUMENT and names the position; so are bytes past the
  /// end.
  absl::Status Append(absl::Span<const std::byte> bytes);
  /// The same with the labels of all positions at once, checked by all threads of `pool`.
  /// REQUIRES: none has been appended yet.
  absl::Status AppendAll(absl::Span<const std::byte> bytes, Pool* pool);

  /// Positions with a label so far.
  [[nodiscard]] int64_t filled() const { return filled_; }
  [[nodiscard]] uint64_t ignored() const { return ignored_; }
  /// Bytes of an element that has begun and is not whole.
  [[nodiscard]] size_t partial_bytes() const { return partial_size_; }

  /// The label of a filled position, or -1 where it is ignored.
  [[nodiscard]] int64_t At(int64_t position) const;

  /// The labels of `count` positions, as At gives them.
  void Load(int64_t position, size_t count, int32_t* to) const;

  /// Positions counted so far by class; empty unless a weight is given.
  [[nodiscard]] const std::vector<uint64_t>& class_counts() const { return class_counts_; }

 private:
  absl::Status AppendOne(const std::byte* element);
  /// Stores `count` elements from a position on; false where one of them is bad, and then what is
  /// stored there is void.
  bool Store(const std::byte* elements, size_t count, int64_t position, uint64_t* ignored);
  /// Counts positions from `begin` on by class.
  void Count(int64_t begin);
  /// Appends all of `count` elements, or none where one of them is bad; returns how many.
  size_t AppendGood(const std::byte* elements, size_t count);

  const Plan& plan_;
  size_t width_;
  Buffer stored_;
  std::vector<uint64_t> class_counts_;
  int64_t filled_ = 0;
  uint64_t ignored_ = 0;
  std::array<std::byte, 8> partial_{};
  size_t partial_size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_LABELS_LABELS_H_

// The class indices of a problem, checked on arrival and kept in the narrowest type that holds
// them.
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

/// The labels of all positions, filled front to back. One thread appends. Others may read any
/// position that they know to be filled; how they learn of it is for them to synchronize.
class Labels {
 public:
  /// REQUIRES: plan.target_kind() == kClassIndex, and `plan` outlives this object.
  explicit Labels(const Plan& plan);

  /// Bytes that the stored labels of `plan` take.
  static uint64_t StoredBytes(const Plan& plan);
  /// Bytes that the counts by class take.
  static uint64_t CountBytes(const Plan& plan);

  /// Appends little-endian elements of the target's dtype; the bytes may end within an element.
  /// INVALID_ARGUMENT, naming the position, if a label is neither in [0, C) nor ignore_index.
  /// INVALID_ARGUMENT also if there are bytes past the end.
  absl::Status Append(absl::Span<const std::byte> bytes);
  /// As Append, with the labels of all positions at once, checked by all threads of `pool`.
  /// REQUIRES: nothing has been appended yet.
  absl::Status AppendAll(absl::Span<const std::byte> bytes, Pool* pool);

  /// The number of positions with a label so far.
  [[nodiscard]] int64_t filled() const { return filled_; }
  [[nodiscard]] uint64_t ignored() const { return ignored_; }
  /// The number of bytes of an incomplete element.
  [[nodiscard]] size_t partial_bytes() const { return partial_size_; }

  /// The label of a filled position; -1 if it is ignored.
  [[nodiscard]] int64_t At(int64_t position) const;

  /// Loads the labels of `count` positions, as At returns them.
  void Load(int64_t position, size_t count, int32_t* to) const;

  /// The number of positions by class so far; empty unless a weight is given.
  [[nodiscard]] const std::vector<uint64_t>& class_counts() const { return class_counts_; }

 private:
  absl::Status AppendOne(const std::byte* element);
  /// Stores `count` elements from `position` on. False if one is invalid; the stored labels are
  /// void then.
  bool Store(const std::byte* elements, size_t count, int64_t position, uint64_t* ignored);
  /// Adds the positions from `begin` on to the counts by class.
  void Count(int64_t begin);
  /// Appends `count` elements, or as many as are missing, or none if one of them is invalid.
  /// Returns the number appended.
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

// Class weights, widened as their bytes arrive.
#ifndef LOSSD_CORE_PROBLEM_WEIGHT_VALUES_H_
#define LOSSD_CORE_PROBLEM_WEIGHT_VALUES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "core/problem/dtype.h"

namespace lossd {

/// The weights of all classes as doubles (exact), and their sum. Takes no more memory than the
/// doubles, and touches it only as bytes arrive.
class WeightValues {
 public:
  /// For `classes` weights of the floating type `dtype`. Throws std::bad_alloc.
  WeightValues(DType dtype, int64_t classes);

  /// Bytes that `classes` stored weights take.
  static uint64_t StoredBytes(int64_t classes) {
    return static_cast<uint64_t>(classes) * sizeof(double);
  }

  /// Appends little-endian bytes, which may end within an element. REQUIRES: no more bytes than are
  /// missing.
  void Append(absl::Span<const std::byte> bytes);
  /// Whether all weights have arrived.
  [[nodiscard]] bool Full() const { return values_.size() == classes_; }

  /// Neumaier's compensated sum: within an ulp of the exact sum for weights of one sign.
  [[nodiscard]] double Sum() const;
  /// Moves the values out. REQUIRES: Full(). Call it only once.
  std::vector<double> Take() { return std::move(values_); }

 private:
  /// Widens `count` whole elements.
  void AppendElements(const std::byte* elements, size_t count);

  DType dtype_;
  size_t classes_;
  std::vector<double> values_;
  double sum_ = 0;
  double lost_ = 0;
  std::array<std::byte, 8> partial_{};  // The first bytes of an incomplete element.
  size_t partial_size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_WEIGHT_VALUES_H_

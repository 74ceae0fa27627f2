// Class weights, widened as their bytes come.
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

/// The weights of all classes as doubles (exact), and their sum. Memory is touched as bytes come,
/// and no more of it than the doubles take.
class WeightValues {
 public:
  /// For `classes` weights of type `dtype`, a floating one. Throws std::bad_alloc.
  WeightValues(DType dtype, int64_t classes);

  /// Bytes that the values of `classes` weights take.
  static uint64_t StoredBytes(int64_t classes) {
    return static_cast<uint64_t>(classes) * sizeof(double);
  }

  /// Takes the next bytes, little-endian, cut anywhere. REQUIRES: no more than are missing.
  void Append(absl::Span<const std::byte> bytes);
  /// Whether all weights are here.
  [[nodiscard]] bool Full() const { return values_.size() == classes_; }

  /// By Neumaier: within an ulp of the exact sum for weights of one sign.
  [[nodiscard]] double Sum() const;
  /// REQUIRES: Full(). To be called once.
  std::vector<double> Take() { return std::move(values_); }

 private:
  /// Widens `count` whole elements.
  void AppendElements(const std::byte* elements, size_t count);

  DType dtype_;
  size_t classes_;
  std::vector<double> values_;
  double sum_ = 0;
  double lost_ = 0;
  std::array<std::byte, 8> partial_{};  // The first bytes of an element that is not whole.
  size_t partial_size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_WEIGHT_VALUES_H_

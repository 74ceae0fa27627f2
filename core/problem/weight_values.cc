#include "core/problem/weight_values.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"

namespace lossd {

WeightValues::WeightValues(DType dtype, int64_t classes)
    : dtype_(dtype), classes_(static_cast<size_t>(classes)) {
  values_.reserve(classes_);
}

void WeightValues::Append(absl::Span<const std::byte> bytes) {
  const size_t size = SizeOf(dtype_);
  if (partial_size_ > 0) {
    const size_t count = std::min(bytes.size(), size - partial_size_);
    std::copy_n(bytes.begin(), count, partial_.begin() + static_cast<ptrdiff_t>(partial_size_));
    partial_size_ += count;
    bytes.remove_prefix(count);
    if (partial_size_ < size) return;
    AppendElements(partial_.data(), 1);
  }
  const size_t whole = bytes.size() / size;
  AppendElements(bytes.data(), whole);
  bytes.remove_prefix(whole * size);
  std::copy(bytes.begin(), bytes.end(), partial_.begin());
  partial_size_ = bytes.size();
}

void WeightValues::AppendElements(const std::byte* elements, size_t count) {
  const size_t begin = values_.size();
  values_.resize(begin + count);
  LoadAsDouble(dtype_, elements, count, values_.data() + begin);
  for (size_t c = begin; c < values_.size(); ++c) {
    const double w = values_[c];
    const double next = sum_ + w;
    lost_ += std::abs(sum_) >= std::abs(w) ? (sum_ - next) + w : (w - next) + sum_;
    sum_ = next;
  }
}

double WeightValues::Sum() const { return std::isfinite(sum_) ? sum_ + lost_ : sum_; }

}  // namespace lossd

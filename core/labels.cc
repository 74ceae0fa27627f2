#include "core/labels.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/load.h"
#include "core/plan.h"

namespace lossd {
namespace {

/// Width of a stored label; all ones stand for an ignored position, so C itself must fit below.
size_t StoredWidth(int64_t classes) {
  if (classes <= 0xFF) return 1;
  if (classes <= 0xFFFF) return 2;
  return 4;
}

/// A label as sent. uint64 values beyond int64 cannot be a class or an ignore_index.
struct RawLabel {
  int64_t value = 0;
  uint64_t unsigned_value = 0;
  bool beyond_int64 = false;
};

template <typename T>
RawLabel ReadLabel(const std::byte* from) {
  const T raw = LoadRaw<T>(from);
  RawLabel label;
  label.value = static_cast<int64_t>(raw);  // NOLINT(bugprone-signed-char-misuse): a number.
  label.unsigned_value = static_cast<uint64_t>(raw);  // NOLINT(bugprone-signed-char-misuse): too.
  label.beyond_int64 = std::is_same_v<T, uint64_t> && label.value < 0;
  return label;
}

/// Labels of `Stored` type, all ones standing for an ignored position.
template <typename Stored>
void LoadLabels(const std::byte* from, size_t count, int32_t* to) {
  for (size_t i = 0; i < count; ++i) {
    const auto label = LoadRaw<Stored>(from + i * sizeof(Stored));
    to[i] = label == static_cast<Stored>(-1) ? -1 : static_cast<int32_t>(label);
  }
}

/// Stores labels; false where one of them is bad. Free of branches and of comparisons for order,
/// for which SSE2 has no vectors of 64 bits: what is out of range shows in a sign.
template <typename T, typename Stored>
bool StoreLabels(const std::byte* from, size_t count, int64_t ignore_index, int64_t classes,
                 std::byte* to, uint64_t* ignored) {
  // A uint64 beyond int64 might look like a negative index to ignore.
  const bool may_ignore = !std::is_same_v<T, uint64_t> || ignore_index >= 0;
  const auto most = static_cast<uint64_t>(classes - 1);
  uint64_t signs = 0;
  uint64_t matches = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t label = ReadLabel<T>(from + i * sizeof(T)).value;
    const uint64_t ignore = label == ignore_index && may_ignore ? ~uint64_t{0} : 0;
    matches -= ignore;
    const uint64_t kept = static_cast<uint64_t>(label) & ~ignore;
    signs |= kept | (most - kept);
    StoreRaw(to + i * sizeof(Stored), static_cast<Stored>(kept | ignore));
  }
  *ignored = matches;
  return signs >> 63U == 0;
}

}  // namespace

Labels::Labels(const Plan& plan)
    : plan_(plan), width_(StoredWidth(plan.classes())), stored_(StoredBytes(plan)) {
  if (!plan.weight().empty()) class_counts_.resize(plan.weight().size());
}

uint64_t Labels::StoredBytes(const Plan& plan) {
  return static_cast<uint64_t>(plan.positions()) * StoredWidth(plan.classes());
}

int64_t Labels::At(int64_t position) const {
  int32_t label = 0;
  Load(position, 1, &label);
  return label;
}

void Labels::Load(int64_t position, size_t count, int32_t* to) const {
  const std::byte* from = stored_.data() + static_cast<size_t>(position) * width_;
  if (width_ == 1) return LoadLabels<uint8_t>(from, count, to);
  if (width_ == 2) return LoadLabels<uint16_t>(from, count, to);
  LoadLabels<uint32_t>(from, count, to);
}

template <typename T>
size_t Labels::AppendGood(const std::byte* elements, size_t count) {
  const int64_t ignore_index = plan_.ignore_index();
  // What a refused run leaves lies beyond filled_.
  std::byte* to = stored_.data() + static_cast<size_t>(filled_) * width_;
  uint64_t ignored = 0;
  const auto store = [&](auto stored) {
    return StoreLabels<T, decltype(stored)>(elements, count, ignore_index, plan_.classes(), to,
                                            &ignored);
  };
  const bool good = width_ == 1   ? store(uint8_t{})
                    : width_ == 2 ? store(uint16_t{})
                                  : store(uint32_t{});
  if (!good) return 0;
  if (!class_counts_.empty()) {
    for (size_t i = 0; i < count; ++i) {
      const int64_t label = ReadLabel<T>(elements + i * sizeof(T)).value;
      if (label != ignore_index) ++class_counts_[static_cast<size_t>(label)];
    }
  }
  ignored_ += ignored;
  filled_ += static_cast<int64_t>(count);
  return count;
}

size_t Labels::AppendGood(const std::byte* elements, size_t count) {
  const auto left = static_cast<size_t>(plan_.positions() - filled_);
  count = std::min(count, left);
  return WithIntegerType(plan_.target().dtype,
                         [&](auto type) { return AppendGood<decltype(type)>(elements, count); });
}

absl::Status Labels::AppendOne(const std::byte* element) {
  if (filled_ == plan_.positions()) {
    return InvalidField("target", "LENGTH_EXCEEDED", "expected ", plan_.positions(),
                        " labels, got more");
  }
  if (AppendGood(element, 1) == 1) return absl::OkStatus();
  const RawLabel label = WithIntegerType(
      plan_.target().dtype, [element](auto type) { return ReadLabel<decltype(type)>(element); });
  const std::string got =
      label.beyond_int64 ? absl::StrCat(label.unsigned_value) : absl::StrCat(label.value);
  return InvalidField(absl::StrCat("target[", filled_, "]"), "LABEL_OUT_OF_RANGE",
                      "expected a class in [0, ", plan_.classes(), ") or ignore_index ",
                      plan_.ignore_index(), ", got ", got);
}

absl::Status Labels::Append(absl::Span<const std::byte> bytes) {
  const size_t size = SizeOf(plan_.target().dtype);
  if (partial_size_ > 0) {
    const size_t taken = std::min(size - partial_size_, bytes.size());
    std::copy_n(bytes.begin(), taken, partial_.begin() + static_cast<ptrdiff_t>(partial_size_));
    partial_size_ += taken;
    bytes.remove_prefix(taken);
    if (partial_size_ < size) return absl::OkStatus();
    partial_size_ = 0;
    LOSSD_RETURN_IF_ERROR(AppendOne(partial_.data()));
  }
  bytes.remove_prefix(AppendGood(bytes.data(), bytes.size() / size) * size);
  // What is left holds a bad label, or bytes past the end: one at a time, to name it.
  while (bytes.size() >= size) {
    LOSSD_RETURN_IF_ERROR(AppendOne(bytes.data()));
    bytes.remove_prefix(size);
  }
  std::copy(bytes.begin(), bytes.end(), partial_.begin());
  partial_size_ = bytes.size();
  if (partial_size_ > 0 && filled_ == plan_.positions()) {
    return InvalidField("target", "LENGTH_EXCEEDED", "expected ", plan_.positions(),
                        " labels, got more");
  }
  return absl::OkStatus();
}

}  // namespace lossd

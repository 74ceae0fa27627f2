#include "core/labels/labels.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/labels/label_kernels.h"
#include "core/pool.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"

namespace lossd {
namespace {

/// Labels that a task checks.
constexpr size_t kShard = 2048;

/// Bytes of a stored label. All ones stand for an ignored position, so C may be at most that value.
size_t StoredWidth(int64_t classes) {
  if (classes <= 0xFF) return 1;
  if (classes <= 0xFFFF) return 2;
  return 4;
}

/// A label as sent. A uint64 value beyond int64 can be neither a class nor ignore_index.
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

[[gnu::cold]] absl::Status TooMany(int64_t positions) {
  return WithMetadata(
      InvalidField("target", "LENGTH_EXCEEDED", "expected ", positions, " labels, got more"),
      {{"expected", absl::StrCat(positions)}});
}

}  // namespace

Labels::Labels(const Plan& plan)
    : plan_(plan), width_(StoredWidth(plan.classes())), stored_(StoredBytes(plan)) {
  if (!plan.weight().empty()) class_counts_.resize(plan.weight().size());
}

uint64_t Labels::StoredBytes(const Plan& plan) {
  return static_cast<uint64_t>(plan.positions()) * StoredWidth(plan.classes());
}

uint64_t Labels::CountBytes(const Plan& plan) {
  return plan.has_weight() ? static_cast<uint64_t>(plan.classes()) * sizeof(uint64_t) : 0;
}

int64_t Labels::At(int64_t position) const {
  int32_t label = 0;
  Load(position, 1, &label);
  return label;
}

void Labels::Load(int64_t position, size_t count, int32_t* to) const {
  LoadLabels(width_, stored_.data() + static_cast<size_t>(position) * width_, count, to);
}

bool Labels::Store(const std::byte* elements, size_t count, int64_t position, uint64_t* ignored) {
  std::byte* to = stored_.data() + static_cast<size_t>(position) * width_;
  return StoreLabels(plan_.target().dtype, width_, {plan_.classes(), plan_.ignore_index()},
                     elements, count, to, ignored);
}

void Labels::Count(int64_t begin) {
  if (class_counts_.empty()) return;
  int32_t labels[256];
  while (begin < filled_) {
    const auto count = std::min(std::size(labels), static_cast<size_t>(filled_ - begin));
    Load(begin, count, labels);
    for (size_t i = 0; i < count; ++i) {
      if (labels[i] >= 0) ++class_counts_[static_cast<size_t>(labels[i])];
    }
    begin += static_cast<int64_t>(count);
  }
}

size_t Labels::AppendGood(const std::byte* elements, size_t count) {
  const auto left = static_cast<size_t>(plan_.positions() - filled_);
  count = std::min(count, left);
  uint64_t ignored = 0;
  // Labels of a failed Store lie beyond filled_, where nobody reads.
  if (!Store(elements, count, filled_, &ignored)) return 0;
  ignored_ += ignored;
  filled_ += static_cast<int64_t>(count);
  Count(filled_ - static_cast<int64_t>(count));
  return count;
}

absl::Status Labels::AppendAll(absl::Span<const std::byte> bytes, Pool* pool) {
  const size_t size = SizeOf(plan_.target().dtype);
  const auto positions = static_cast<size_t>(plan_.positions());
  if (bytes.size() != positions * size || positions < 4 * kShard) return Append(bytes);
  std::atomic<uint64_t> ignored = 0;
  std::atomic<bool> good = true;
  const auto shards = static_cast<int64_t>((positions + kShard - 1) / kShard);
  pool->Run(shards, [&](int64_t shard, Scratch* /*scratch*/) {
    const size_t begin = static_cast<size_t>(shard) * kShard;
    const size_t count = std::min(kShard, positions - begin);
    uint64_t ignored_here = 0;
    if (!Store(bytes.data() + begin * size, count, static_cast<int64_t>(begin), &ignored_here)) {
      good = false;
    }
    ignored += ignored_here;
  });
  // Checks again, to name the first invalid label.
  if (!good) return Append(bytes);
  ignored_ = ignored;
  filled_ = plan_.positions();
  Count(0);
  return absl::OkStatus();
}

absl::Status Labels::AppendOne(const std::byte* element) {
  if (filled_ == plan_.positions()) {
    return TooMany(plan_.positions());
  }
  if (AppendGood(element, 1) == 1) return absl::OkStatus();
  const RawLabel label = WithIntegerType(
      plan_.target().dtype, [element](auto type) { return ReadLabel<decltype(type)>(element); });
  const std::string got =
      label.beyond_int64 ? absl::StrCat(label.unsigned_value) : absl::StrCat(label.value);
  return WithMetadata(InvalidField(absl::StrCat("target[", filled_, "]"), "LABEL_OUT_OF_RANGE",
                                   "expected a class in [0, ", plan_.classes(),
                                   ") or ignore_index ", plan_.ignore_index(), ", got ", got),
                      {{"classes", absl::StrCat(plan_.classes())},
                       {"position", absl::StrCat(filled_)},
                       {"value", got}});
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
  // The rest holds an invalid label, or bytes past the end. Appends one at a time to name it.
  while (bytes.size() >= size) {
    LOSSD_RETURN_IF_ERROR(AppendOne(bytes.data()));
    bytes.remove_prefix(size);
  }
  std::copy(bytes.begin(), bytes.end(), partial_.begin());
  partial_size_ = bytes.size();
  if (partial_size_ > 0 && filled_ == plan_.positions()) {
    return TooMany(plan_.positions());
  }
  return absl::OkStatus();
}

}  // namespace lossd

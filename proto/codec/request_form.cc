#include "proto/codec/request_form.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/string_view.h"
#include "core/batch.h"
#include "core/problem/plan.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/wire_read.h"
#include "proto/codec/wire_write.h"

namespace lossd {
namespace {

/// Limits RequestForm::rest_, which may contain weights: a form is kept for a long time.
constexpr size_t kMostRest = 4096;

}  // namespace

std::shared_ptr<const RequestForm> RequestForm::Of(absl::string_view message,
                                                   std::shared_ptr<const Plan> plan) {
  using Request = v1::EvaluateRequest;
  auto form = absl::WrapUnique(new RequestForm());
  form->size_ = message.size();
  unsigned seen = 0;
  size_t tensors = 0;
  FieldReader reader(message);
  while (reader.Next()) {
    const int number = reader.number();
    if (!reader.delimited() || number > 15) return nullptr;
    const unsigned bit = 1U << static_cast<unsigned>(number);
    if ((seen & bit) != 0) return nullptr;
    seen |= bit;
    Range* range = nullptr;
    if (number == Request::kInputFieldNumber) range = &form->input_;
    if (number == Request::kTargetFieldNumber) range = &form->target_;
    if (number == Request::kGradOutputFieldNumber) range = &form->grad_output_;
    if (range != nullptr) {
      const std::optional<absl::string_view> raw = PlainTensorBytes(reader.bytes());
      if (!raw || raw->data() == nullptr) return nullptr;
      *range = {static_cast<size_t>(raw->data() - message.data()), raw->size()};
      form->raw_[tensors++] = *range;
    } else if (number != Request::kCriterionFieldNumber && number != Request::kOutputsFieldNumber) {
      return nullptr;
    }
  }
  if (!reader.done()) return nullptr;
  size_t at = 0;
  for (size_t i = 0; i < tensors; ++i) {
    form->rest_.append(message.data() + at, form->raw_[i].begin - at);
    at = form->raw_[i].begin + form->raw_[i].size;
  }
  form->rest_.append(message.data() + at, message.size() - at);
  if (form->rest_.size() > kMostRest) return nullptr;
  for (size_t i = tensors; i < form->raw_.size(); ++i) form->raw_[i] = {message.size(), 0};
  form->frame_ = FrameOf(*plan, FrameOf(Summarize(*plan, nullptr, RowTotals(plan->loss_dtype()))));
  form->plan_ = std::move(plan);
  return form;
}

bool RequestForm::Fits(absl::string_view message) const {
  if (message.size() != size_) return false;
  const char* rest = rest_.data();
  size_t at = 0;
  for (const Range& raw : raw_) {
    const size_t size = raw.begin - at;
    if (std::memcmp(rest, message.data() + at, size) != 0) return false;
    rest += size;
    at = raw.begin + raw.size;
  }
  return std::memcmp(rest, message.data() + at, message.size() - at) == 0;
}

Operands RequestForm::OperandsOf(absl::string_view message) const {
  const auto view = [&](const Range& range) -> absl::Span<const std::byte> {
    return {reinterpret_cast<const std::byte*>(message.data()) + range.begin, range.size};
  };
  return {view(input_), view(target_), view(grad_output_)};
}

std::shared_ptr<const RequestForm> RequestForms::Find(absl::string_view message) {
  auto form = recent_.At(message.size());
  if (form == nullptr || !form->Fits(message)) return nullptr;
  return form;
}

void RequestForms::Keep(std::shared_ptr<const RequestForm> form) {
  if (form == nullptr) return;
  const size_t size = form->size();
  recent_.Keep(size, std::move(form));
}

}  // namespace lossd

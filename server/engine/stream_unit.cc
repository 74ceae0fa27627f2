#include "server/engine/stream_unit.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "core/buffer.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"

namespace lossd {

UnitLayout::UnitLayout(const Plan& plan) : inner(plan.inner()) {
  const auto size = [](DType dtype) { return static_cast<int64_t>(SizeOf(dtype)); };
  const auto operand = [this](Operand which) -> int64_t& {
    return operand_bytes[static_cast<size_t>(which)];
  };
  const auto output = [this](Output which) -> int64_t& {
    return output_bytes[static_cast<size_t>(which)];
  };
  const bool none = plan.criterion().reduction == Reduction::kNone;
  operand(Operand::kInput) = plan.classes() * size(plan.input().dtype);
  if (plan.target_kind() == TargetKind::kProbabilities) {
    operand(Operand::kTarget) = plan.classes() * size(plan.target().dtype);
  }
  if (plan.grad_output() && none) operand(Operand::kGradOutput) = size(plan.grad_output()->dtype);
  const Outputs& wanted = plan.outputs();
  if (wanted.loss && none) output(Output::kLoss) = size(plan.loss_dtype());
  if (wanted.log_sum_exp) output(Output::kLogSumExp) = size(plan.loss_dtype());
  if (wanted.grad_target) {
    output(Output::kGradTarget) = plan.classes() * size(plan.target().dtype);
  }
  if (wanted.grad_input) output(Output::kGradInput) = plan.classes() * size(plan.input().dtype);
}

uint64_t UnitLayout::BytesPerPosition() const {
  uint64_t bytes = 0;  // Cannot overflow: each term is at most 8 bytes per class.
  for (const int64_t each : operand_bytes) bytes += static_cast<uint64_t>(each);
  for (const int64_t each : output_bytes) bytes += static_cast<uint64_t>(each);
  return bytes;
}

absl::Span<std::byte> StreamUnit::Room(Operand operand, size_t most) {
  const auto which = static_cast<size_t>(operand);
  const auto whole = static_cast<size_t>(layout_.operand_bytes[which] * positions_);
  const auto filled = static_cast<size_t>(filled_[which]);
  if (operands_[which].size() == 0) operands_[which] = Buffer(whole);
  return {operands_[which].data() + filled, std::min(most, whole - filled)};
}

int64_t StreamUnit::Ready() const {
  int64_t ready = positions_;
  for (size_t which = 0; which < kUnitOperands; ++which) {
    const int64_t each = layout_.operand_bytes[which];
    if (each == 0) continue;
    // Operands with a class axis are usable by whole samples; an incoming gradient by positions.
    const bool by_sample = which != static_cast<size_t>(Operand::kGradOutput);
    const int64_t positions = filled_[which] / each;
    ready = std::min(
        ready, by_sample ? filled_[which] / (each * layout_.inner) * layout_.inner : positions);
  }
  return ready;
}

StreamUnit::Range StreamUnit::TakeTask(int64_t most) {
  const Range range{taken_, std::min(Ready(), taken_ + most)};
  taken_ = range.end;
  return range;
}

Slab StreamUnit::MakeSlab() {
  for (size_t which = 0; which < kUnitOutputs; ++which) {
    const int64_t whole = layout_.output_bytes[which] * positions_;
    if (outputs_[which].size() == 0) outputs_[which] = Buffer(static_cast<size_t>(whole));
  }
  const auto operand = [this](Operand which) {
    return operands_[static_cast<size_t>(which)].data();
  };
  const auto output = [this](Output which) { return outputs_[static_cast<size_t>(which)].data(); };
  Slab slab;
  slab.first_position = first_position_;
  slab.input = operand(Operand::kInput);
  slab.target = operand(Operand::kTarget);
  slab.grad_output = operand(Operand::kGradOutput);
  slab.loss = output(Output::kLoss);
  slab.log_sum_exp = output(Output::kLogSumExp);
  slab.grad_input = output(Output::kGradInput);
  slab.grad_target = output(Output::kGradTarget);
  return slab;
}

void StreamUnit::Done(Range range) {
  done_ahead_[range.begin] = range.end;
  for (auto next = done_ahead_.begin(); next != done_ahead_.end() && next->first == done_;) {
    done_ = next->second;
    next = done_ahead_.erase(next);
  }
  if (AllDone()) {
    for (Buffer& operand : operands_) operand = Buffer();
  }
}

absl::Span<const std::byte> StreamUnit::TakeOutput(Output output, size_t most) {
  const auto which = static_cast<size_t>(output);
  const int64_t each = layout_.output_bytes[which];
  if (each == 0) return {};
  // Gradients of strided classes are contiguous by whole samples only.
  const bool by_sample = output == Output::kGradInput || output == Output::kGradTarget;
  const int64_t ready = by_sample ? done_ / layout_.inner * layout_.inner : done_;
  const int64_t begin = sent_[which];
  const int64_t end = std::min(ready * each, begin + static_cast<int64_t>(most));
  sent_[which] = end;
  return {outputs_[which].data() + begin, static_cast<size_t>(end - begin)};
}

bool StreamUnit::AllTaken() const {
  if (!AllDone()) return false;
  for (size_t which = 0; which < kUnitOutputs; ++which) {
    if (sent_[which] < layout_.output_bytes[which] * positions_) return false;
  }
  return true;
}

}  // namespace lossd

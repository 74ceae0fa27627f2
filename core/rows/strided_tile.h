// Gathers positions of strided classes into rows, and scatters them back.
#ifndef LOSSD_CORE_ROWS_STRIDED_TILE_H_
#define LOSSD_CORE_ROWS_STRIDED_TILE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/buffer.h"
#include "core/passes/row_kernels.h"
#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"

namespace lossd {

/// Rows of storage type T (input) and P (probability target), in scratch memory. Gradients of the
/// input overwrite its logits.
template <typename T, typename P>
class StridedTile {
 public:
  StridedTile(const Plan& plan, const Slab& slab, Scratch* scratch)
      : kernels_(KernelsOf<P>(plan)),
        classes_(static_cast<size_t>(plan.classes())),
        inner_(static_cast<size_t>(plan.inner())),
        step_(RowStep(classes_)),
        positions_(StridedPositions(classes_ * sizeof(T))) {
    const size_t elements = positions_ * step_;
    const size_t input_bytes = elements * sizeof(T);
    const size_t target_bytes = slab.target == nullptr ? 0 : elements * sizeof(P);
    if (scratch->strided.size() < Bytes(plan)) scratch->strided = Buffer(Bytes(plan));
    static_assert(Buffer::kAlignment >= kLine);
    input_ = scratch->strided.data();
    if (slab.grad_input != nullptr) grad_input_ = input_;
    if (slab.target != nullptr) target_ = input_ + input_bytes;
    if (slab.grad_target != nullptr) grad_target_ = input_ + input_bytes + target_bytes;
  }

  /// Bytes of scratch that the tile takes.
  static size_t Bytes(const Plan& plan) {
    const auto classes = static_cast<size_t>(plan.classes());
    size_t position = sizeof(T);
    if (plan.target_kind() == TargetKind::kProbabilities) position += sizeof(P);
    if (plan.outputs().grad_target) position += sizeof(P);
    return StridedPositions(classes * sizeof(T)) * RowStep(classes) * position;
  }

  /// The number of positions that the tile holds.
  [[nodiscard]] int64_t positions() const { return static_cast<int64_t>(positions_); }

  /// Fills the tile with `count` positions of one sample. The first one's class 0 is at `element`
  /// of the slab.
  void Gather(const Slab& slab, size_t element, size_t count) const {
    kernels_.gather(slab.input + element * sizeof(T), inner_, classes_, count, input_, step_);
    if (target_ == nullptr) return;
    kernels_.gather_target(slab.target + element * sizeof(P), inner_, classes_, count, target_,
                           step_);
  }

  [[nodiscard]] RowData Row(int64_t i) const {
    const size_t element = static_cast<size_t>(i) * step_;
    const auto offset = [&](std::byte* base, size_t size) {
      return base == nullptr ? nullptr : base + element * size;
    };
    return {offset(input_, sizeof(T)), offset(target_, sizeof(P)), offset(grad_input_, sizeof(T)),
            offset(grad_target_, sizeof(P))};
  }

  /// Writes the gradients of the positions that Gather took.
  void Scatter(const Slab& slab, size_t element, size_t count, bool stream) const {
    if (grad_input_ != nullptr) {
      kernels_.scatter(grad_input_, step_, classes_, count, stream,
                       slab.grad_input + element * sizeof(T), inner_);
    }
    if (grad_target_ != nullptr) {
      kernels_.scatter_target(grad_target_, step_, classes_, count, stream,
                              slab.grad_target + element * sizeof(P), inner_);
    }
  }

 private:
  static constexpr size_t kLine = 64;
  /// The step from a row to the next: an odd number of cache lines, so that rows of a power of two
  /// of classes do not fall on the same sets of the caches.
  static size_t RowStep(size_t classes) {
    constexpr size_t kElements = kLine / std::min(sizeof(T), sizeof(P));
    return ((classes + kElements - 1) / kElements | 1U) * kElements;
  }

  const RowKernels& kernels_;
  size_t classes_;
  size_t inner_;
  size_t step_;
  size_t positions_;
  std::byte* input_ = nullptr;
  std::byte* target_ = nullptr;
  std::byte* grad_input_ = nullptr;
  std::byte* grad_target_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_STRIDED_TILE_H_

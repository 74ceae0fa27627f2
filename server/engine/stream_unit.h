// A unit of a stream: consecutive whole samples, with the operands received and the outputs
// computed so far.
#ifndef LOSSD_SERVER_ENGINE_STREAM_UNIT_H_
#define LOSSD_SERVER_ENGINE_STREAM_UNIT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "absl/types/span.h"
#include "core/buffer.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"

namespace lossd {

/// Tensors that a stream receives. The first three are split by units; the weight precedes them.
enum class Operand : uint8_t { kTarget, kGradOutput, kInput, kWeight };
inline constexpr size_t kOperands = 4;
inline constexpr size_t kUnitOperands = 3;

/// Tensors that a stream sends. The first four are split by units; the weight gradient comes last.
enum class Output : uint8_t { kLoss, kLogSumExp, kGradTarget, kGradInput, kGradWeight };
inline constexpr size_t kUnitOutputs = 4;

/// REQUIRES: a >= 0, b > 0, and a + b does not overflow.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Bytes per position of each tensor of a plan. 0 for a tensor that is absent or not split by
/// units: class indices, a scalar incoming gradient, and a reduced loss.
struct UnitLayout {
  explicit UnitLayout(const Plan& plan);

  std::array<int64_t, kUnitOperands> operand_bytes{};  ///< For each position.
  std::array<int64_t, kUnitOutputs> output_bytes{};    ///< For each position.
  int64_t inner = 1;

  /// Bytes per position in all buffers of a unit together.
  [[nodiscard]] uint64_t BytesPerPosition() const;
};

/// Not thread-safe, with two exceptions: other threads may meanwhile evaluate the ranges that
/// TakeTask returned, and write to the memory that Room returned.
class StreamUnit {
 public:
  /// Holds `positions` positions from `first_position` on. REQUIRES: `positions` is a multiple of
  /// the layout's `inner`.
  StreamUnit(const UnitLayout& layout, int64_t first_position, int64_t positions)
      : layout_(layout), first_position_(first_position), positions_(positions) {}

  [[nodiscard]] int64_t first_position() const { return first_position_; }
  [[nodiscard]] int64_t positions() const { return positions_; }

  /// Memory for the next bytes of the operand: `most` bytes, or fewer if the unit ends before.
  absl::Span<std::byte> Room(Operand operand, size_t most);
  /// Reports `count` bytes as written to the memory that Room returned.
  void Fill(Operand operand, size_t count) {
    filled_[static_cast<size_t>(operand)] += static_cast<int64_t>(count);
  }
  /// The number of leading positions whose operands have all arrived.
  [[nodiscard]] int64_t Ready() const;

  /// Up to `most` ready positions not yet taken by TakeTask: [begin, end) within the unit.
  struct Range {
    int64_t begin;
    int64_t end;
  };
  Range TakeTask(int64_t most);
  [[nodiscard]] int64_t taken() const { return taken_; }
  [[nodiscard]] Slab MakeSlab();

  /// Reports a range as evaluated.
  void Done(Range range);
  [[nodiscard]] bool AllDone() const { return done_ == positions_; }

  /// The next bytes of an output that are ready to be sent, at most `most`; empty if none are.
  absl::Span<const std::byte> TakeOutput(Output output, size_t most);
  /// Whether every output has been taken completely.
  [[nodiscard]] bool AllTaken() const;

 private:
  UnitLayout layout_;
  int64_t first_position_;
  int64_t positions_;
  std::array<Buffer, kUnitOperands> operands_;
  std::array<int64_t, kUnitOperands> filled_{};
  std::array<Buffer, kUnitOutputs> outputs_;
  std::array<int64_t, kUnitOutputs> sent_{};
  int64_t taken_ = 0;
  int64_t done_ = 0;                       // Every position before this one is evaluated.
  std::map<int64_t, int64_t> done_ahead_;  // Evaluated ranges after done_, begin -> end.
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_STREAM_UNIT_H_

// A unit of a stream: consecutive whole samples, their operands as they arrive and their outputs as
// they are done.
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

/// Tensors that a stream receives. The first three are cut by units; the weight comes before them.
enum class Operand : uint8_t { kTarget, kGradOutput, kInput, kWeight };
inline constexpr size_t kOperands = 4;
inline constexpr size_t kUnitOperands = 3;

/// Tensors that a stream sends. The first four are cut by units; the weight gradient comes last.
enum class Output : uint8_t { kLoss, kLogSumExp, kGradTarget, kGradInput, kGradWeight };
inline constexpr size_t kUnitOutputs = 4;

/// REQUIRES: a >= 0, b > 0, and a + b does not overflow.
constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// How the tensors of a plan are laid out by position: bytes of each, 0 for one that is not there
/// (or is not cut by units, as class indices, a scalar incoming gradient and a reduced loss).
struct UnitLayout {
  explicit UnitLayout(const Plan& plan);

  std::array<int64_t, kUnitOperands> operand_bytes{};  ///< For each position.
  std::array<int64_t, kUnitOutputs> output_bytes{};    ///< For each position.
  int64_t inner = 1;

  /// Bytes that a position takes in all buffers of a unit together.
  [[nodiscard]] uint64_t BytesPerPosition() const;
};

/// Not thread-safe, except that ranges handed out by TakeTask may be evaluated, and room for
/// operands written to, meanwhile.
class StreamUnit {
 public:
  /// Takes `positions`, a multiple of the layout's inner, from `first_position` on.
  StreamUnit(const UnitLayout& layout, int64_t first_position, int64_t positions)
      : layout_(layout), first_position_(first_position), positions_(positions) {}

  [[nodiscard]] int64_t first_position() const { return first_position_; }
  [[nodiscard]] int64_t positions() const { return positions_; }

  /// Where the next bytes of the operand belong, at most `most`: all of them but for the unit's
  /// end.
  absl::Span<std::byte> Room(Operand operand, size_t most);
  /// Reports so many bytes as written there.
  void Fill(Operand operand, size_t count) {
    filled_[static_cast<size_t>(operand)] += static_cast<int64_t>(count);
  }
  /// Positions whose operands are all here.
  [[nodiscard]] int64_t Ready() const;

  /// Hands out up to `most` ready positions that nobody has taken: [begin, end) within the unit.
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

  /// The next bytes of an output that are ready to be sent, at most `most`; empty where none are.
  absl::Span<const std::byte> TakeOutput(Output output, size_t most);
  /// Every output has been taken whole.
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
  int64_t done_ = 0;                       // Every position before it is evaluated.
  std::map<int64_t, int64_t> done_ahead_;  // Ranges beyond, begin -> end.
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_STREAM_UNIT_H_

// The loss to compute, and its reduction. Names match the protocol's.
#ifndef LOSSD_CORE_PROBLEM_CRITERION_H_
#define LOSSD_CORE_PROBLEM_CRITERION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/cross_entropy.h"
#include "core/problem/nll_loss.h"

namespace lossd {

enum class Reduction : uint8_t { kMean, kSum, kNone };

/// The mean if no position counts.
enum class EmptyMean : uint8_t { kNaN, kZero };

/// A loss with the options of its kind.
using CriterionKind = std::variant<CrossEntropy, NllLoss>;

/// A loss and its reduction, without the class weight, which is a tensor.
struct Criterion {
  Reduction reduction = Reduction::kMean;
  EmptyMean empty_mean = EmptyMean::kNaN;
  /// The divisor of `mean`, in place of the sum of weights; finite and not 0.
  std::optional<double> normalizer;
  CriterionKind kind;

  /// REQUIRES: the kind is cross-entropy, as it is by default.
  [[nodiscard]] const CrossEntropy& cross_entropy() const { return std::get<CrossEntropy>(kind); }
  [[nodiscard]] CrossEntropy& cross_entropy() { return std::get<CrossEntropy>(kind); }

  [[nodiscard]] const ClassOptions& class_options() const;
  [[nodiscard]] ClassOptions& class_options();
  /// 0 for a kind without this option.
  [[nodiscard]] double label_smoothing() const;

  /// The name of the kind's field in the protocol, such as "cross_entropy".
  [[nodiscard]] absl::string_view kind_name() const;
  /// The path of a field of the kind: "criterion.cross_entropy.weight" for "weight".
  [[nodiscard]] std::string PathOf(absl::string_view field) const;

  bool operator==(const Criterion&) const = default;
};

/// The kind of this name with default options; nullopt if there is none.
std::optional<CriterionKind> KindNamed(absl::string_view name);
std::vector<std::string> KindNames();

/// Checks ranges, and options that exclude each other. class_axis is not checked, because only an
/// input can bound it. INVALID_ARGUMENT with the field's path in the protocol's names, such as
/// "criterion.normalizer".
absl::Status CheckCriterion(const Criterion& criterion, TargetKind target);

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_CRITERION_H_

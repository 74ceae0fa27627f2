#include "core/problem/check_options.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/problem/error.h"
#include "core/problem/options.h"
#include "core/problem/plan.h"

namespace lossd {
namespace {

constexpr absl::string_view kSmoothing = "criterion.cross_entropy.label_smoothing";
constexpr absl::string_view kIgnoreIndex = "criterion.cross_entropy.ignore_index";
constexpr absl::string_view kNormalizer = "criterion.normalizer";

}  // namespace

absl::Status CheckOptions(const Options& options, TargetKind target) {
  if (!(options.label_smoothing >= 0.0 && options.label_smoothing <= 1.0)) {
    return InvalidField(kSmoothing, "LABEL_SMOOTHING_RANGE", "expected a value in [0, 1], got ",
                        options.label_smoothing);
  }
  if (target == TargetKind::kProbabilities && options.ignore_index.value_or(-1) >= 0) {
    return InvalidField(kIgnoreIndex, "IGNORE_INDEX_WITH_PROBABILITIES",
                        "expected none, or a negative one, beside a probability target, got ",
                        *options.ignore_index);
  }
  if (!options.normalizer) return absl::OkStatus();
  if (options.reduction != Reduction::kMean) {
    return InvalidField(kNormalizer, "NORMALIZER_WITHOUT_MEAN",
                        "expected none unless the reduction is mean");
  }
  if (!std::isfinite(*options.normalizer) || *options.normalizer == 0.0) {
    return InvalidField(kNormalizer, "NORMALIZER_RANGE",
                        "expected a finite number other than 0, got ", *options.normalizer);
  }
  return absl::OkStatus();
}

}  // namespace lossd

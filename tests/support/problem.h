// Problems with their bytes, and ways to run them, for tests.
#ifndef LOSSD_TESTS_SUPPORT_PROBLEM_H_
#define LOSSD_TESTS_SUPPORT_PROBLEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/batch.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "core/sums/summary.h"

namespace lossd::testing {

using Bytes = std::vector<std::byte>;

/// A tensor with its bytes.
struct OwnedTensor {
  TensorSpec spec;
  Bytes bytes;
  [[nodiscard]] TensorView view() const { return {spec, bytes}; }
};

/// Values rounded to a floating type, or converted to an integer one.
OwnedTensor MakeTensor(DType dtype, Shape shape, const std::vector<double>& values);
/// The elements of a floating tensor.
std::vector<double> Values(DType dtype, const Bytes& bytes);

struct OwnedProblem {
  Criterion criterion;
  Outputs outputs;
  OwnedTensor input;
  OwnedTensor target;
  std::optional<OwnedTensor> weight;
  std::optional<OwnedTensor> grad_output;

  [[nodiscard]] Problem problem() const;
  [[nodiscard]] Operands operands() const;
  [[nodiscard]] std::shared_ptr<const Plan> plan() const;  ///< Must be valid.
};

/// Everything that an evaluation gives.
struct Results {
  Bytes loss;
  Bytes log_sum_exp;
  Bytes grad_input;
  Bytes grad_target;
  Bytes grad_weight;
  Summary summary;
};

/// Runs EvaluateBatch on a pool of `threads` threads. Outputs are poisoned before.
absl::StatusOr<Results> RunBatch(const OwnedProblem& problem, int threads = 1);

/// Expects this code, and an error detail with this field and this reason.
void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& field,
                 const std::string& reason);

/// Every byte and every count of two results is the same; names the first that is not.
std::string Difference(const Results& a, const Results& b);

/// Class indices over logits with their classes at axis 1, reduction mean, the input's gradient
/// wanted.
OwnedProblem MakeIndex(DType dtype, Shape shape, const std::vector<double>& x,
                       const std::vector<double>& labels);

/// A random valid problem of any kind with every output that it may ask for.
OwnedProblem RandomProblem(std::mt19937_64* random);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_PROBLEM_H_

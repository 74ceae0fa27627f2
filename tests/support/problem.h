// Problems that own their bytes, and functions to run them, for tests.
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

/// A tensor that owns its bytes.
struct OwnedTensor {
  TensorSpec spec;
  Bytes bytes;
  [[nodiscard]] TensorView view() const { return {spec, bytes}; }
};

/// A tensor of `values`, rounded to a floating type or converted to an integer type.
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
  [[nodiscard]] std::shared_ptr<const Plan> plan() const;  ///< REQUIRES: the problem is valid.
};

/// All outputs of an evaluation.
struct Results {
  Bytes loss;
  Bytes log_sum_exp;
  Bytes grad_input;
  Bytes grad_target;
  Bytes grad_weight;
  Summary summary;
};

/// Runs EvaluateBatch on a pool of `threads` threads, with outputs that are poisoned before.
absl::StatusOr<Results> RunBatch(const OwnedProblem& problem, int threads = 1);

/// Expects the code, and an error detail with the field and the reason.
void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& field,
                 const std::string& reason);

/// Compares every byte and every count of two results. Returns the name of the first member that
/// differs; empty if none does.
std::string Difference(const Results& a, const Results& b);

/// Logits with class axis 1 (0 if they have one dimension) and class indices, with reduction mean
/// and the input's gradient requested.
OwnedProblem MakeIndex(DType dtype, Shape shape, const std::vector<double>& x,
                       const std::vector<double>& labels);

/// A random valid cross-entropy problem that requests every output that it may.
OwnedProblem RandomProblem(std::mt19937_64* random);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_PROBLEM_H_

// The conformance vectors: problems and PyTorch's results.
#ifndef LOSSD_TESTS_SUPPORT_VECTORS_H_
#define LOSSD_TESTS_SUPPORT_VECTORS_H_

#include <string>
#include <vector>

#include "tests/support/problem.h"

namespace lossd::testing {

struct Vector {
  std::string name;
  OwnedProblem problem;
  std::vector<double> loss;
  std::vector<double> grad_input;
  std::vector<double> grad_target;
  std::vector<double> grad_weight;
};

/// All cases of the *.jsonl files in tests/conformance, in order. Aborts if there are fewer than
/// 600 or if a dtype is unknown.
const std::vector<Vector>& AllVectors();

/// Compares `results` with the vector's. Returns the first difference; empty if they agree within
/// the precision of their types.
std::string Check(const Vector& vector, const Results& results);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_VECTORS_H_

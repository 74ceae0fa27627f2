// The conformance vectors: problems and PyTorch's answers.
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

/// All cases of the *.jsonl files in tests/conformance, in order. Aborts where the file is not as
/// it should be.
const std::vector<Vector>& AllVectors();

/// What is wrong with `results`; empty where they agree with the vector's answers within the
/// precision of their types.
std::string Check(const Vector& vector, const Results& results);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_VECTORS_H_

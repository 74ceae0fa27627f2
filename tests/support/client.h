// Problems as the C++ client takes them, for tests.
#ifndef LOSSD_TESTS_SUPPORT_CLIENT_H_
#define LOSSD_TESTS_SUPPORT_CLIENT_H_

#include "client/cpp/lossd/client.h"
#include "tests/support/problem.h"

namespace lossd::testing {

/// Refers to the problem's bytes.
CrossEntropyRequest RequestOf(const OwnedProblem& problem);

Bytes BytesOf(const Tensor& tensor);
Results ResultsOf(const CrossEntropyResult& result);

/// 700 rows of 300 classes with one label, the gradient wanted: several chunks and tasks.
OwnedProblem ManyRows();

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_CLIENT_H_

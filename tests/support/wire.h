// Converts problems to messages.
#ifndef LOSSD_TESTS_SUPPORT_WIRE_H_
#define LOSSD_TESTS_SUPPORT_WIRE_H_

#include "lossd/v1/service.pb.h"
#include "tests/support/problem.h"

namespace lossd::testing {

v1::EvaluateRequest MakeRequest(const OwnedProblem& problem);
v1::EvaluateStreamHeader MakeHeader(const OwnedProblem& problem);
/// The response that a server should give.
v1::EvaluateResponse MakeResponse(const OwnedProblem& problem, const Results& results);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_WIRE_H_

// Formats results as text, for people and for programs.
#ifndef LOSSD_CLIENT_LOSSCTL_SHOW_H_
#define LOSSD_CLIENT_LOSSCTL_SHOW_H_

#include <string>

#include "client/cpp/lossd/client.h"
#include "client/lossctl/eval.h"

namespace lossd {

/// Returns lines with the loss, the gradient if `flags` asks for it, and the counts; or one line of
/// JSON. Numbers have enough digits to identify them among all numbers of their type.
std::string Show(const EvalFlags& flags, const LossResult& result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_SHOW_H_

#include "tests/support/session.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "core/problem/error.h"

namespace lossd::testing {

SessionDriver::SessionDriver(const OwnedProblem& problem, const StreamLimits& limits, int threads,
                             bool weight_follows)
    : problem_(problem),
      weight_follows_(weight_follows),
      pool_(std::make_unique<WorkerPool>(threads)) {
  Problem stated = problem.problem();
  if (weight_follows) stated.weight->bytes = {};
  stated.weight_follows = weight_follows;
  auto plan = Plan::Create(stated).value();
  auto session = StreamSession::Create(std::move(plan), limits, pool_.get(), &budget_, [this] {
    const std::lock_guard<std::mutex> lock(mutex_);
    progress_ = true;
    wake_.notify_all();
  });
  created_ = session.status();
  if (session.ok()) session_ = *std::move(session);
}

SessionDriver::~SessionDriver() {
  if (session_ != nullptr) session_->Cancel();
  pool_.reset();
}

void SessionDriver::TakeReplies() {
  while (auto reply = session_->TakeReply()) {
    for (const OutputPart& part : reply->parts) {
      Bytes* to = part.output == Output::kLoss         ? &results_.loss
                  : part.output == Output::kLogSumExp  ? &results_.log_sum_exp
                  : part.output == Output::kGradInput  ? &results_.grad_input
                  : part.output == Output::kGradTarget ? &results_.grad_target
                                                       : &results_.grad_weight;
      to->insert(to->end(), part.bytes.begin(), part.bytes.end());
    }
    if (reply->summary) {
      results_.summary = *reply->summary;
      ended_ = true;
    }
  }
}

absl::Status SessionDriver::Send(Operand operand, size_t begin, size_t end) {
  const Bytes& bytes = operand == Operand::kWeight       ? problem_.weight->bytes
                       : operand == Operand::kTarget     ? problem_.target.bytes
                       : operand == Operand::kGradOutput ? problem_.grad_output->bytes
                                                         : problem_.input.bytes;
  if (!WaitUntil([this] { return session_->WantsOperands(); })) {
    return absl::InternalError("the session does not want what it lacks");
  }
  LOSSD_RETURN_IF_ERROR(session_->Append(operand, {bytes.data() + begin, end - begin}));
  return session_->EndMessage();
}

absl::Status SessionDriver::SendAll(size_t chunk) {
  const size_t input = problem_.input.bytes.size();
  const size_t target = problem_.target.bytes.size();
  const size_t grad = problem_.grad_output ? problem_.grad_output->bytes.size() : 0;
  const bool scalar_grad = problem_.criterion.reduction != Reduction::kNone;
  const size_t weight = weight_follows_ ? problem_.weight->bytes.size() : 0;
  for (size_t at = 0; at < weight; at += chunk) {
    LOSSD_RETURN_IF_ERROR(Send(Operand::kWeight, at, std::min(weight, at + chunk)));
  }
  size_t target_sent = 0;
  size_t grad_sent = 0;
  if (IsInteger(problem_.target.spec.dtype)) {
    for (; target_sent < target; target_sent += std::min(chunk, target - target_sent)) {
      const size_t end = std::min(target, target_sent + chunk);
      LOSSD_RETURN_IF_ERROR(Send(Operand::kTarget, target_sent, end));
    }
  }
  for (size_t sent = 0; sent < input || target_sent < target || grad_sent < grad;) {
    const size_t end = std::min(input, sent + chunk);
    const auto share = [&](size_t size) { return input == 0 ? size : size * end / input; };
    const size_t target_end = std::max(target_sent, share(target));
    LOSSD_RETURN_IF_ERROR(Send(Operand::kTarget, target_sent, target_end));
    target_sent = target_end;
    if (grad > 0) {
      const size_t grad_end = scalar_grad ? grad : share(grad);
      LOSSD_RETURN_IF_ERROR(Send(Operand::kGradOutput, grad_sent, grad_end));
      grad_sent = grad_end;
    }
    LOSSD_RETURN_IF_ERROR(Send(Operand::kInput, sent, end));
    sent = end;
  }
  return absl::OkStatus();
}

absl::Status SessionDriver::Finish() {
  LOSSD_RETURN_IF_ERROR(session_->Close());
  if (WaitUntil([this] { return ended_; })) return absl::OkStatus();
  return absl::InternalError("the session does not end");
}

}  // namespace lossd::testing

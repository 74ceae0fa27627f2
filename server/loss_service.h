// The methods of lossd.v1.LossService.
#ifndef LOSSD_SERVER_LOSS_SERVICE_H_
#define LOSSD_SERVER_LOSS_SERVICE_H_

#include "lossd/v1/service.pb.h"
#include "server/request_evaluation.h"
#include "server/rpc/call_queue.h"

namespace lossd {

/// Adds them to `queue`. `context` must outlive the queue.
void AddLossService(const EvaluationContext& context, const v1::GetServerInfoResponse& info,
                    CallQueue* queue);

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSS_SERVICE_H_

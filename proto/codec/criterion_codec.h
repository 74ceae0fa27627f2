// Between wire criteria and core's.
#ifndef LOSSD_PROTO_CODEC_CRITERION_CODEC_H_
#define LOSSD_PROTO_CODEC_CRITERION_CODEC_H_

#include <cstddef>

#include "absl/status/status.h"
#include "core/problem/criterion.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd {

/// The criterion, all but the weight; ranges are for CheckCriterion. Field paths begin with
/// "criterion".
absl::Status ParseCriterion(const v1::Criterion& wire, Criterion* criterion);

/// Fills the message, without a weight.
void ToWire(const Criterion& criterion, v1::Criterion* wire);

/// The weight; null where the message has none.
const v1::Tensor* FindWeight(const v1::Criterion& wire);
/// Bytes of the weight's data where they are raw; 0 otherwise.
size_t RawWeightBytes(const v1::Criterion& wire);
/// The weight, made where the message has none. REQUIRES: its kind is set.
v1::Tensor* MutableWeight(v1::Criterion* wire);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_CRITERION_CODEC_H_

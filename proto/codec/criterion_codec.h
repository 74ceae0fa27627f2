// Converts between wire and core criteria.
#ifndef LOSSD_PROTO_CODEC_CRITERION_CODEC_H_
#define LOSSD_PROTO_CODEC_CRITERION_CODEC_H_

#include <cstddef>

#include "absl/status/status.h"
#include "core/problem/criterion.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd {

/// Parses the criterion without its weight; CheckCriterion checks the ranges. Field paths begin
/// with "criterion".
absl::Status ParseCriterion(const v1::Criterion& wire, Criterion* criterion);

/// Fills the message, without a weight.
void ToWire(const Criterion& criterion, v1::Criterion* wire);

/// The weight; null if the message has none.
const v1::Tensor* FindWeight(const v1::Criterion& wire);
/// Size in bytes of the weight's raw data; 0 if there are none.
size_t RawWeightBytes(const v1::Criterion& wire);
/// The weight, created if the message has none. REQUIRES: the criterion's kind is set.
v1::Tensor* MutableWeight(v1::Criterion* wire);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_CRITERION_CODEC_H_

// Converts between wire tensors and core views. The order of checks is dtype, shape, overflow-safe
// product, byte length; nothing is allocated before they pass.
#ifndef LOSSD_PROTO_CODEC_TENSOR_CODEC_H_
#define LOSSD_PROTO_CODEC_TENSOR_CODEC_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/problem/dtype.h"
#include "core/problem/tensor.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd {

/// Errors name `field`.dtype, or dtype if `field` is empty.
absl::StatusOr<DType> ParseDType(int wire, absl::string_view field);
v1::DataType ToWire(DType dtype);

absl::StatusOr<TensorSpec> ParseSpec(const v1::TensorSpec& wire, absl::string_view field);
void ToWire(const TensorSpec& spec, v1::TensorSpec* wire);

/// A view of the tensor's raw bytes, or of typed values encoded into `storage`. The view is valid
/// as long as both.
absl::StatusOr<TensorView> ParseTensor(const v1::Tensor& tensor, absl::string_view field,
                                       std::vector<std::byte>* storage);

/// Whether the tensor's data are typed values.
bool HasTypedValues(const v1::Tensor& tensor);

/// Fills `tensor` with `bytes` of `spec`: raw, or as typed values (float_values for float32 and the
/// half types, double_values for float64).
void FillTensor(const TensorSpec& spec, absl::Span<const std::byte> bytes, bool typed,
                v1::Tensor* tensor);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_TENSOR_CODEC_H_

#include "proto/codec/tensor_codec.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/problem/tensor.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd {
namespace {

DType DefaultDType(const v1::Tensor& tensor) {
  switch (tensor.data_case()) {
    case v1::Tensor::kDoubleValues:
      return DType::kFloat64;
    case v1::Tensor::kInt64Values:
      return DType::kInt64;
    case v1::Tensor::kUint64Values:
      return DType::kUInt64;
    default:
      return DType::kFloat32;
  }
}

template <typename Values>
absl::Status EncodeFloats(const Values& values, DType dtype, absl::string_view field,
                          std::byte* to) {
  if (!IsFloating(dtype)) {
    return InvalidField(absl::StrCat(field, ".dtype"), "DTYPE_MISMATCH",
                        "expected a floating type for float_values or double_values, got ",
                        Name(dtype));
  }
  for (const auto value : values) {
    StoreFromDouble(dtype, static_cast<double>(value), to);
    to += SizeOf(dtype);
  }
  return absl::OkStatus();
}

template <typename T, typename Source>
bool StoreInteger(Source value, std::byte* to) {
  if (!std::in_range<T>(value)) return false;
  StoreRaw(to, static_cast<T>(value));
  return true;
}

template <typename Source>
bool EncodeInteger(DType dtype, Source value, std::byte* to) {
  return WithIntegerType(dtype, [&](auto type) { return StoreInteger<decltype(type)>(value, to); });
}

template <typename Values>
absl::Status EncodeIntegers(const Values& values, DType dtype, absl::string_view field,
                            std::byte* to) {
  if (!IsInteger(dtype)) {
    return InvalidField(absl::StrCat(field, ".dtype"), "DTYPE_MISMATCH",
                        "expected an integer type for int64_values or uint64_values, got ",
                        Name(dtype));
  }
  for (int i = 0; i < values.size(); ++i) {
    // Protobuf's int64 and uint64 are standard integer types, as std::in_range requires.
    const auto value = values[i];
    if (!EncodeInteger(dtype, value, to)) {
      return WithMetadata(InvalidField(absl::StrCat(field, "[", i, "]"), "VALUE_RANGE",
                                       "expected a value of ", Name(dtype), ", got ", value),
                          {{"position", absl::StrCat(i)}, {"value", absl::StrCat(value)}});
    }
    to += SizeOf(dtype);
  }
  return absl::OkStatus();
}

int64_t TypedCount(const v1::Tensor& tensor) {
  switch (tensor.data_case()) {
    case v1::Tensor::kFloatValues:
      return tensor.float_values().values_size();
    case v1::Tensor::kDoubleValues:
      return tensor.double_values().values_size();
    case v1::Tensor::kInt64Values:
      return tensor.int64_values().values_size();
    default:
      return tensor.uint64_values().values_size();
  }
}

absl::Status EncodeTyped(const v1::Tensor& tensor, const TensorSpec& spec, int64_t elements,
                         absl::string_view field, std::vector<std::byte>* storage) {
  if (TypedCount(tensor) != elements) {
    return WithMetadata(
        InvalidField(field, "LENGTH_MISMATCH", "expected ", elements, " values for shape ",
                     ToString(spec.shape), ", got ", TypedCount(tensor)),
        ExpectedMetadata(elements, TypedCount(tensor)));
  }
  storage->resize(static_cast<size_t>(elements) * SizeOf(spec.dtype));
  switch (tensor.data_case()) {
    case v1::Tensor::kFloatValues:
      return EncodeFloats(tensor.float_values().values(), spec.dtype, field, storage->data());
    case v1::Tensor::kDoubleValues:
      return EncodeFloats(tensor.double_values().values(), spec.dtype, field, storage->data());
    case v1::Tensor::kInt64Values:
      return EncodeIntegers(tensor.int64_values().values(), spec.dtype, field, storage->data());
    default:
      return EncodeIntegers(tensor.uint64_values().values(), spec.dtype, field, storage->data());
  }
}

absl::Span<const std::byte> AsBytes(const std::string& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};  // NOLINT(*-cast)
}

}  // namespace

absl::StatusOr<DType> ParseDType(int wire, absl::string_view field) {
  const auto path = [field] { return absl::StrCat(field, field.empty() ? "" : ".", "dtype"); };
  if (wire == v1::DATA_TYPE_UNSPECIFIED) {
    return InvalidField(path(), "DTYPE_MISSING", "expected an element type");
  }
  if (!v1::DataType_IsValid(wire)) {
    return WithMetadata(
        InvalidField(path(), "ENUM_UNKNOWN", "expected a known element type, got ", wire),
        {{"value", absl::StrCat(wire)}});
  }
  return static_cast<DType>(wire - 1);  // Both enums list the types in the same order.
}
static_assert(static_cast<int>(DType::kFloat32) + 1 == v1::DATA_TYPE_FLOAT32);
static_assert(static_cast<int>(DType::kBFloat16) + 1 == v1::DATA_TYPE_BFLOAT16);
static_assert(static_cast<int>(DType::kInt8) + 1 == v1::DATA_TYPE_INT8);
static_assert(static_cast<int>(DType::kUInt64) + 1 == v1::DATA_TYPE_UINT64);
static_assert(v1::DataType_MAX == v1::DATA_TYPE_UINT64);

v1::DataType ToWire(DType dtype) { return static_cast<v1::DataType>(static_cast<int>(dtype) + 1); }

absl::StatusOr<TensorSpec> ParseSpec(const v1::TensorSpec& wire, absl::string_view field) {
  const auto dtype = ParseDType(wire.dtype(), field);
  if (!dtype.ok()) return dtype.status();
  TensorSpec spec{*dtype, Shape(wire.shape().begin(), wire.shape().end())};
  if (const auto elements = CheckedElements(spec, field); !elements.ok()) return elements.status();
  return spec;
}

void ToWire(const TensorSpec& spec, v1::TensorSpec* wire) {
  wire->set_dtype(ToWire(spec.dtype));
  wire->mutable_shape()->Assign(spec.shape.begin(), spec.shape.end());
}

bool HasTypedValues(const v1::Tensor& tensor) {
  switch (tensor.data_case()) {
    case v1::Tensor::kFloatValues:
    case v1::Tensor::kDoubleValues:
    case v1::Tensor::kInt64Values:
    case v1::Tensor::kUint64Values:
      return true;
    default:
      return false;
  }
}

absl::StatusOr<TensorView> ParseTensor(const v1::Tensor& tensor, absl::string_view field,
                                       std::vector<std::byte>* storage) {
  TensorView view;
  if (HasTypedValues(tensor) && tensor.dtype() == v1::DATA_TYPE_UNSPECIFIED) {
    view.spec.dtype = DefaultDType(tensor);
  } else {
    const auto dtype = ParseDType(tensor.dtype(), field);
    if (!dtype.ok()) return dtype.status();
    view.spec.dtype = *dtype;
  }
  view.spec.shape.assign(tensor.shape().begin(), tensor.shape().end());
  const auto elements = CheckedElements(view.spec, field);
  if (!elements.ok()) return elements.status();
  switch (tensor.data_case()) {
    case v1::Tensor::kRaw:
      view.bytes = AsBytes(tensor.raw());
      LOSSD_RETURN_IF_ERROR(CheckBytes(view, field));
      return view;
    case v1::Tensor::kSharedMemory:
      return FieldError(absl::StatusCode::kFailedPrecondition,
                        absl::StrCat(field, ".shared_memory"), "SHARED_MEMORY_UNAVAILABLE",
                        "this server offers no shared memory; send raw bytes");
    case v1::Tensor::DATA_NOT_SET:
      if (*elements == 0) return view;
      return InvalidField(field, "FIELD_MISSING", "expected raw bytes or typed values for shape ",
                          ToString(view.spec.shape));
    default:
      LOSSD_RETURN_IF_ERROR(EncodeTyped(tensor, view.spec, *elements, field, storage));
      view.bytes = absl::MakeConstSpan(*storage);
      return view;
  }
}

void FillTensor(const TensorSpec& spec, absl::Span<const std::byte> bytes, bool typed,
                v1::Tensor* tensor) {
  tensor->set_dtype(ToWire(spec.dtype));
  tensor->mutable_shape()->Assign(spec.shape.begin(), spec.shape.end());
  if (!typed) {
    tensor->mutable_raw()->assign(reinterpret_cast<const char*>(bytes.data()),  // NOLINT(*-cast)
                                  bytes.size());
    return;
  }
  const size_t count = bytes.size() / SizeOf(spec.dtype);
  std::vector<double> values(count);
  LoadAsDouble(spec.dtype, bytes.data(), count, values.data());
  if (spec.dtype == DType::kFloat64) {
    tensor->mutable_double_values()->mutable_values()->Assign(values.begin(), values.end());
  } else {
    tensor->mutable_float_values()->mutable_values()->Assign(values.begin(), values.end());
  }
}

}  // namespace lossd

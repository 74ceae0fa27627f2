// Element types of tensors: names, sizes, and roles.
#ifndef LOSSD_CORE_PROBLEM_DTYPE_H_
#define LOSSD_CORE_PROBLEM_DTYPE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace lossd {

/// Element type of a tensor. Bytes are little-endian.
enum class DType : uint8_t {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
};

/// Bytes of one element.
constexpr size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kInt8:
    case DType::kUInt8:
      return 1;
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kInt16:
    case DType::kUInt16:
      return 2;
    case DType::kFloat32:
    case DType::kInt32:
    case DType::kUInt32:
      return 4;
    case DType::kFloat64:
    case DType::kInt64:
    case DType::kUInt64:
      return 8;
  }
  return 0;
}

/// Name as numpy spells it: "float32", "bfloat16", "int64", ...
constexpr absl::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat64:
      return "float64";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kInt8:
      return "int8";
    case DType::kInt16:
      return "int16";
    case DType::kInt32:
      return "int32";
    case DType::kInt64:
      return "int64";
    case DType::kUInt8:
      return "uint8";
    case DType::kUInt16:
      return "uint16";
    case DType::kUInt32:
      return "uint32";
    case DType::kUInt64:
      return "uint64";
  }
  return "unknown";
}

constexpr bool IsFloating(DType dtype) { return dtype <= DType::kBFloat16; }
constexpr bool IsHalf(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }
constexpr bool IsInteger(DType dtype) { return !IsFloating(dtype); }

/// The type of losses and log-sum-exps for logits of type `input`: float32 for half types, else
/// `input`.
constexpr DType LossDType(DType input) { return IsHalf(input) ? DType::kFloat32 : input; }

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_DTYPE_H_

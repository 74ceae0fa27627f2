// Reads and writes elements at any alignment, widened to double or rounded from it.
#ifndef LOSSD_CORE_PROBLEM_LOAD_H_
#define LOSSD_CORE_PROBLEM_LOAD_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "core/problem/dtype.h"
#include "core/problem/half.h"

namespace lossd {

/// Reads a value of type T from bytes of any alignment.
template <typename T>
T LoadRaw(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// Writes a value of type T to bytes of any alignment.
template <typename T>
void StoreRaw(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

inline double Widen(float value) { return static_cast<double>(value); }
inline double Widen(double value) { return value; }
inline double Widen(Float16 value) { return static_cast<double>(ToFloat(value)); }
inline double Widen(BFloat16 value) { return static_cast<double>(ToFloat(value)); }

/// Rounds once, to nearest even. -0 becomes +0, and every NaN the canonical NaN.
template <typename T>
T Narrow(double value);
template <>
inline double Narrow<double>(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value + 0.0;
}
template <>
inline float Narrow<float>(double value) {
  // The addition clears the sign of a value that rounded to -0.
  return std::isnan(value) ? std::numeric_limits<float>::quiet_NaN()
                           : static_cast<float>(value) + 0.0F;
}
template <>
inline Float16 Narrow<Float16>(double value) {
  const Float16 half = ToFloat16(value);
  return {half.bits == 0x8000U ? uint16_t{0} : half.bits};
}
template <>
inline BFloat16 Narrow<BFloat16>(double value) {
  const BFloat16 half = ToBFloat16(value);
  return {half.bits == 0x8000U ? uint16_t{0} : half.bits};
}

/// Calls `function` with a value of the C++ type of a floating `dtype`.
template <typename Function>
decltype(auto) WithFloatingType(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kFloat64:
      return std::forward<Function>(function)(double{});
    case DType::kFloat16:
      return std::forward<Function>(function)(Float16{});
    case DType::kBFloat16:
      return std::forward<Function>(function)(BFloat16{});
    default:
      return std::forward<Function>(function)(float{});
  }
}

/// Calls `function` with a value of the C++ type of an integer `dtype`.
template <typename Function>
decltype(auto) WithIntegerType(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kInt8:
      return std::forward<Function>(function)(int8_t{});
    case DType::kUInt8:
      return std::forward<Function>(function)(uint8_t{});
    case DType::kInt16:
      return std::forward<Function>(function)(int16_t{});
    case DType::kUInt16:
      return std::forward<Function>(function)(uint16_t{});
    case DType::kInt32:
      return std::forward<Function>(function)(int32_t{});
    case DType::kUInt32:
      return std::forward<Function>(function)(uint32_t{});
    case DType::kUInt64:
      return std::forward<Function>(function)(uint64_t{});
    default:
      return std::forward<Function>(function)(int64_t{});
  }
}

/// Widens `count` elements of a floating `dtype`.
inline void LoadAsDouble(DType dtype, const std::byte* from, size_t count, double* to) {
  WithFloatingType(dtype, [&](auto type) {
    using T = decltype(type);
    for (size_t i = 0; i < count; ++i) to[i] = Widen(LoadRaw<T>(from + i * sizeof(T)));
  });
}

/// Stores one element of a floating `dtype`, rounded once.
inline void StoreFromDouble(DType dtype, double value, std::byte* to) {
  WithFloatingType(dtype, [&](auto type) { StoreRaw(to, Narrow<decltype(type)>(value)); });
}

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_LOAD_H_

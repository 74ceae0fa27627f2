// Constants that the vector helpers and the passes share.
#ifndef LOSSD_CORE_SIMD_CONSTANTS_H_
#define LOSSD_CORE_SIMD_CONSTANTS_H_

#include <cstddef>

namespace lossd {

/// Exponentials are kept times 2^61. A gradient's factor undoes it.
inline constexpr double kExponentialScale = 0x1p-61;
/// A factor of every exponential, the maximum's included, so that it cancels in each quotient. With
/// it, all eight 2^(j / 8) round to float32 with a relative error of at most 0.047 2^-24. (Of the
/// 759,234 factors that make the first of them a float32, this is the best.) It also absorbs the
/// mean error of their polynomial.
inline constexpr double kExpFactor = 0x1.16747c4ff1456p+0;

/// The most positions of strided classes that are gathered at once: four cache lines of float32 for
/// each class. With two lines, gathering took twice as long at (2,1000,64,64).
inline constexpr size_t kStridedPositions = 64;

}  // namespace lossd

#endif  // LOSSD_CORE_SIMD_CONSTANTS_H_

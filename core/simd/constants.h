// Constants that the vocabulary of vectors and the passes share.
#ifndef LOSSD_CORE_SIMD_CONSTANTS_H_
#define LOSSD_CORE_SIMD_CONSTANTS_H_

#include <cstddef>

namespace lossd {

/// Exponentials are kept times 2^61. The factor of a gradient undoes it.
inline constexpr double kExponentialScale = 0x1p-61;
/// Every exponential, the maximum's included, is scaled by this constant, so it cancels in each
/// quotient. With it all eight 2^(j / 8) are float32 numbers within 0.047 2^-24 of themselves. (Of
/// the 759,234 factors that make the first one a float32, this is the best.) It also takes the mean
/// error of their polynomial.
inline constexpr double kExpFactor = 0x1.16747c4ff1456p+0;

/// Positions of strided classes that are gathered at once at most: four cache lines of float32 of
/// each class. With two, at (2,1000,64,64), gathering took twice as long.
inline constexpr size_t kStridedPositions = 64;

}  // namespace lossd

#endif  // LOSSD_CORE_SIMD_CONSTANTS_H_

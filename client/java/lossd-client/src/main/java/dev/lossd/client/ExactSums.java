package dev.lossd.client;

import dev.lossd.v1.DataType;
import dev.lossd.v1.ExactSum;
import java.math.BigInteger;

/** Exact sums (lossd.v1.ExactSum) as doubles. */
final class ExactSums {
  private ExactSums() {}

  /**
   * An exact sum rounded once, to the nearest double, ties to even.
   *
   * @param sum its units are two's complement, little-endian, 2^-149 each, or 2^-1074 for float64
   * @param type the summary's
   * @return NaN and infinities as adding them up would give, zero as +0
   */
  static double toDouble(ExactSum sum, DataType type) {
    boolean up = sum.getPositiveInfinityCount() != 0;
    boolean down = sum.getNegativeInfinityCount() != 0;
    if (sum.getNanCount() != 0 || (up && down)) {
      return Double.NaN;
    }
    if (up || down) {
      return up ? Double.POSITIVE_INFINITY : Double.NEGATIVE_INFINITY;
    }
    int exponent = type == DataType.DATA_TYPE_FLOAT64 ? 1074 : 149;
    BigInteger units = units(sum);
    BigInteger size = units.abs();
    // BigInteger.doubleValue() rounds to nearest even, but is infinite from 2^1024 on. Of longer
    // numbers 64 bits and one for all that follow them round the same.
    int cut = Math.max(0, size.bitLength() - 64);
    BigInteger head = size.shiftRight(cut);
    if (cut > 0) {
      boolean rest = size.getLowestSetBit() < cut;
      head = head.shiftLeft(1).or(rest ? BigInteger.ONE : BigInteger.ZERO);
      cut -= 1;
    }
    double value = Math.scalb(head.doubleValue(), cut - exponent);
    return units.signum() < 0 ? -value : value;
  }

  private static BigInteger units(ExactSum sum) {
    byte[] little = sum.getUnits().toByteArray();
    if (little.length == 0) {
      return BigInteger.ZERO;
    }
    byte[] big = new byte[little.length];
    for (int i = 0; i < big.length; i++) {
      big[i] = little[little.length - 1 - i];
    }
    return new BigInteger(big);
  }
}

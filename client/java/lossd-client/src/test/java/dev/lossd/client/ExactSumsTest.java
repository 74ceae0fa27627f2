package dev.lossd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.protobuf.ByteString;
import dev.lossd.v1.DataType;
import dev.lossd.v1.ExactSum;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Exact sums are rounded once. */
class ExactSumsTest {
  private static final DataType F32 = DataType.DATA_TYPE_FLOAT32;
  private static final DataType F64 = DataType.DATA_TYPE_FLOAT64;

  private static ExactSum sum(BigInteger units) {
    byte[] big = units.toByteArray();
    byte[] little = new byte[big.length];
    for (int i = 0; i < big.length; i++) {
      little[i] = big[big.length - 1 - i];
    }
    return ExactSum.newBuilder().setUnits(ByteString.copyFrom(little)).build();
  }

  /** The value by way of decimal digits. */
  private static double slowly(BigInteger units, int exponent) {
    return new BigDecimal(units)
        .divide(new BigDecimal(BigInteger.ONE.shiftLeft(exponent)))
        .doubleValue();
  }

  @Test
  void randomSumsRoundAsDecimalsDo() {
    Random random = new Random(3);
    for (int bits = 1; bits < 2200; bits += 13) {
      BigInteger units = new BigInteger(bits, random).setBit(bits - 1);
      units = random.nextBoolean() ? units.negate() : units;
      assertEquals(slowly(units, 1074), ExactSums.toDouble(sum(units), F64), "bits " + bits);
      if (bits < 1000) {
        assertEquals(slowly(units, 149), ExactSums.toDouble(sum(units), F32), "bits " + bits);
      }
    }
  }

  @Test
  void tiesGoToEvenUnlessABitFollows() {
    BigInteger one = BigInteger.ONE;
    for (int shift : new int[] {0, 1, 20, 800}) {
      BigInteger tie = one.shiftLeft(53).or(one).shiftLeft(shift + 1);
      for (BigInteger units : new BigInteger[] {tie, tie.add(one), tie.subtract(one)}) {
        assertEquals(slowly(units, 1074), ExactSums.toDouble(sum(units), F64), "shift " + shift);
      }
    }
  }

  @Test
  void edges() {
    assertEquals(0.0, ExactSums.toDouble(ExactSum.getDefaultInstance(), F32));
    assertEquals(Double.MIN_VALUE, ExactSums.toDouble(sum(BigInteger.ONE), F64));
    BigInteger huge = BigInteger.ONE.shiftLeft(1074 + 1024);
    assertEquals(Double.POSITIVE_INFINITY, ExactSums.toDouble(sum(huge), F64));
    assertEquals(Double.NEGATIVE_INFINITY, ExactSums.toDouble(sum(huge.negate()), F64));
    ExactSum.Builder counts = ExactSum.newBuilder().setPositiveInfinityCount(1);
    assertEquals(Double.POSITIVE_INFINITY, ExactSums.toDouble(counts.build(), F32));
    counts.setNegativeInfinityCount(1);
    assertEquals(Double.NaN, ExactSums.toDouble(counts.build(), F32));
    counts.clear().setNegativeInfinityCount(2);
    assertEquals(Double.NEGATIVE_INFINITY, ExactSums.toDouble(counts.build(), F32));
    counts.clear().setNanCount(1);
    assertEquals(Double.NaN, ExactSums.toDouble(counts.build(), F32));
  }
}

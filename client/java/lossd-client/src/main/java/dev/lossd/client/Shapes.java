package dev.lossd.client;

import java.util.Arrays;

/** Sizes of dimensions. */
final class Shapes {
  private Shapes() {}

  /**
   * The number of elements.
   *
   * @throws LossdException a size is negative, or there are more bytes than can be addressed
   */
  static long elements(long[] shape, DataType type) {
    long count = 1;
    for (long size : shape) {
      if (size < 0) {
        throw LossdException.invalid(
            "shape",
            "SIZE_NEGATIVE",
            "expected sizes of at least 0, got " + Arrays.toString(shape));
      }
      // A size of 0 anywhere makes it 0, whatever the others are.
      count = size == 0 || count == 0 ? 0 : multiply(count, size);
    }
    if (count > (1L << 62) / type.byteSize()) {
      throw LossdException.invalid(
          "shape", "SHAPE_OVERFLOW", "expected at most 2^62 bytes, got " + Arrays.toString(shape));
    }
    return count;
  }

  /** The product, or the greatest long. */
  private static long multiply(long a, long b) {
    return Math.multiplyHigh(a, b) != 0 || a * b < 0 ? Long.MAX_VALUE : a * b;
  }

  /** The shape without one axis. */
  static long[] without(long[] shape, int axis) {
    long[] rest = new long[shape.length - 1];
    System.arraycopy(shape, 0, rest, 0, axis);
    System.arraycopy(shape, axis + 1, rest, axis, rest.length - axis);
    return rest;
  }
}

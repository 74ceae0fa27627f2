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

  /**
   * A copy of a shape, or the shape of one dimension where none is given.
   *
   * @throws LossdException it is not for this many elements
   */
  static long[] checked(DataType type, long[] shape, long length) {
    if (shape.length == 0) {
      return new long[] {length};
    }
    checkLength(type, shape, length);
    return shape.clone();
  }

  /**
   * Holds a number of elements to a shape.
   *
   * @throws LossdException it is another one
   */
  static void checkLength(DataType type, long[] shape, long length) {
    long expected = elements(shape, type);
    if (expected != length) {
      String words = "expected " + expected + " elements for the shape " + Arrays.toString(shape);
      throw LossdException.invalid("data", "LENGTH_MISMATCH", words + ", got " + length);
    }
  }

  /** The shape without one axis. */
  static long[] without(long[] shape, int axis) {
    long[] rest = new long[shape.length - 1];
    System.arraycopy(shape, 0, rest, 0, axis);
    System.arraycopy(shape, axis + 1, rest, axis, rest.length - axis);
    return rest;
  }
}

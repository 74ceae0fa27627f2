package dev.lossd.client;

import java.nio.ByteBuffer;

/** Numbers of every floating type, for tests. */
final class Halves {
  private Halves() {}

  /** Appends a number, rounded to the type. */
  static void put(ByteBuffer to, DataType type, double value) {
    switch (type) {
      case FLOAT32:
        to.putFloat((float) value);
        break;
      case FLOAT64:
        to.putDouble(value);
        break;
      case FLOAT16:
        to.putShort(toFloat16(value));
        break;
      default:
        to.putShort(toBfloat16((float) value));
    }
  }

  /** The elements of a tensor of any floating type. */
  static double[] read(Tensor tensor) {
    double[] values = new double[(int) tensor.getElementCount()];
    ByteBuffer bytes = tensor.asByteBuffer();
    for (int i = 0; i < values.length; i++) {
      values[i] = Elements.first(tensor.getDataType(), bytes);
    }
    return values;
  }

  static short toFloat16(double value) {
    int sign = Math.copySign(1, value) < 0 ? 0x8000 : 0;
    double size = Math.abs(value);
    if (Double.isNaN(value)) {
      return 0x7e00;
    }
    if (size >= 65520) {
      return (short) (sign | 0x7c00);
    }
    int exponent = Math.max(Math.getExponent(size), -14);
    // A fraction that rounds up to 2048 carries into the exponent, as it should.
    int fraction = (int) Math.rint(Math.scalb(size, 10 - exponent));
    return (short) (sign | (exponent + 14 << 10) + fraction);
  }

  static short toBfloat16(float value) {
    int bits = Float.floatToIntBits(value);
    return (short) (Float.isNaN(value) ? 0x7fc0 : bits + 0x7fff + (bits >> 16 & 1) >> 16);
  }
}

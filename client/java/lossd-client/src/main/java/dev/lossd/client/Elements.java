package dev.lossd.client;

import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** Between primitive arrays and the bytes of tensors, in bulk. */
final class Elements {
  private Elements() {}

  /**
   * Holds an array to a type.
   *
   * @throws LossdException elements of the array are no elements of the type
   */
  static void check(DataType type, Object array) {
    if (!fits(type, array.getClass())) {
      String words = type + " is no type for elements of " + array.getClass().getSimpleName();
      throw LossdException.invalid("dtype", "DTYPE_MISMATCH", words);
    }
  }

  /**
   * Holds a buffer to a type.
   *
   * @throws LossdException it is not of order little-endian, or not of whole elements
   */
  static void check(DataType type, ByteBuffer buffer) {
    if (buffer.order() != ByteOrder.LITTLE_ENDIAN && type.byteSize() > 1) {
      throw LossdException.invalid(
          "data", "", "expected a buffer of order LITTLE_ENDIAN, got " + buffer.order());
    }
    if (buffer.remaining() % type.byteSize() != 0) {
      String words = "expected whole elements of " + type + ", got " + buffer.remaining();
      throw LossdException.invalid("data", "LENGTH_MISMATCH", words + " bytes");
    }
  }

  /** The elements of an array as bytes. */
  static TensorData pack(DataType type, Object array, int length) {
    TensorData data = TensorData.allocate((long) length * type.byteSize());
    int begin = 0;
    for (ByteBuffer segment : data.writable()) {
      int count = segment.remaining() / type.byteSize();
      put(segment, array, begin, count);
      begin += count;
    }
    return data;
  }

  /**
   * The elements of a tensor as an array of this kind.
   *
   * @throws IllegalStateException they are of another type, or too many
   */
  static Object unpack(Tensor tensor, Class<?> kind) {
    if (!fits(tensor.getDataType(), kind)) {
      throw new IllegalStateException(
          "a tensor of " + tensor.getDataType() + " is no " + kind.getSimpleName());
    }
    long length = tensor.getElementCount();
    if (length > Integer.MAX_VALUE - 8) {
      throw new IllegalStateException(tensor + " has more elements than an array can");
    }
    Object array = Array.newInstance(kind.getComponentType(), (int) length);
    int begin = 0;
    for (ByteBuffer segment : tensor.asByteBuffers()) {
      int count = segment.remaining() / tensor.getDataType().byteSize();
      get(segment, array, begin, count);
      begin += count;
    }
    return array;
  }

  /** The bytes as one buffer; copied only where they are in several. */
  static ByteBuffer joined(TensorData data) {
    if (data.size() > Integer.MAX_VALUE - 8) {
      throw new IllegalStateException("2 GiB or more do not fit one buffer: use asByteBuffers()");
    }
    List<ByteBuffer> segments = data.readOnly();
    if (segments.size() == 1) {
      return segments.get(0);
    }
    ByteBuffer all = ByteBuffer.allocate((int) data.size());
    segments.forEach(all::put);
    return all.flip().asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** The first element; of integers the nearest double. */
  static double first(DataType type, ByteBuffer bytes) {
    switch (type) {
      case FLOAT32:
        return bytes.getFloat();
      case FLOAT64:
        return bytes.getDouble();
      case FLOAT16:
        return widenFloat16(bytes.getShort());
      case BFLOAT16:
        return Float.intBitsToFloat(bytes.getShort() << 16);
      case INT8:
        return bytes.get();
      case INT16:
        return bytes.getShort();
      case INT32:
        return bytes.getInt();
      case INT64:
        return bytes.getLong();
      case UINT8:
        return Byte.toUnsignedInt(bytes.get());
      case UINT16:
        return Short.toUnsignedInt(bytes.getShort());
      case UINT32:
        return Integer.toUnsignedLong(bytes.getInt());
      case UINT64:
        return Double.parseDouble(Long.toUnsignedString(bytes.getLong()));
      default:
        throw new AssertionError(type);
    }
  }

  /** An IEEE 754 binary16 as a double. */
  private static double widenFloat16(short bits) {
    int exponent = bits >> 10 & 0x1f;
    int fraction = bits & 0x3ff;
    double size;
    if (exponent == 0x1f) {
      size = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    } else {
      // Subnormals have the least exponent and no hidden bit.
      size =
          Math.scalb(
              (double) (exponent == 0 ? fraction : fraction | 0x400), Math.max(exponent, 1) - 25);
    }
    return bits < 0 ? -size : size;
  }

  private static boolean fits(DataType type, Class<?> kind) {
    switch (type) {
      case FLOAT32:
        return kind == float[].class;
      case FLOAT64:
        return kind == double[].class;
      case INT64:
      case UINT64:
        return kind == long[].class;
      case INT32:
      case UINT32:
        return kind == int[].class;
      case INT8:
      case UINT8:
        return kind == byte[].class;
      default:
        return kind == short[].class;
    }
  }

  private static void put(ByteBuffer to, Object array, int begin, int count) {
    if (array instanceof float[]) {
      to.asFloatBuffer().put((float[]) array, begin, count);
    } else if (array instanceof double[]) {
      to.asDoubleBuffer().put((double[]) array, begin, count);
    } else if (array instanceof long[]) {
      to.asLongBuffer().put((long[]) array, begin, count);
    } else if (array instanceof int[]) {
      to.asIntBuffer().put((int[]) array, begin, count);
    } else if (array instanceof short[]) {
      to.asShortBuffer().put((short[]) array, begin, count);
    } else {
      to.put((byte[]) array, begin, count);
    }
  }

  private static void get(ByteBuffer from, Object array, int begin, int count) {
    if (array instanceof float[]) {
      from.asFloatBuffer().get((float[]) array, begin, count);
    } else if (array instanceof double[]) {
      from.asDoubleBuffer().get((double[]) array, begin, count);
    } else if (array instanceof long[]) {
      from.asLongBuffer().get((long[]) array, begin, count);
    } else if (array instanceof int[]) {
      from.asIntBuffer().get((int[]) array, begin, count);
    } else if (array instanceof short[]) {
      from.asShortBuffer().get((short[]) array, begin, count);
    } else {
      from.get((byte[]) array, begin, count);
    }
  }
}

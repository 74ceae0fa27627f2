package dev.lossd.client;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;

/**
 * A dense row-major tensor.
 *
 * <p>Arrays are copied once, when the tensor is made. Buffers are not copied: what they hold must
 * not change while a call uses the tensor. Where no shape is given, the tensor has one dimension;
 * {@code reshape()} then makes a scalar of one element.
 *
 * <p>Every factory throws a {@link LossdException} of code INVALID_ARGUMENT where the data are not
 * as long as the shape says, a size is negative, or the type does not fit the array. Every {@code
 * to...Array} throws an {@link IllegalStateException} where the elements are of another type or too
 * many for an array.
 */
public final class Tensor {
  private final DataType type;
  private final long[] shape;
  private final TensorData data;

  /** A tensor over these bytes, whose number has been checked. */
  Tensor(DataType type, long[] shape, TensorData data) {
    this.type = type;
    this.shape = shape;
    this.data = data;
  }

  /**
   * Makes a tensor of float32.
   *
   * @param data the elements
   * @param shape the sizes of the dimensions, outermost first
   * @return the tensor
   */
  public static Tensor of(float[] data, long... shape) {
    return packed(DataType.FLOAT32, data, data.length, shape);
  }

  /** As {@link #of(float[], long...)}, of float64. */
  public static Tensor of(double[] data, long... shape) {
    return packed(DataType.FLOAT64, data, data.length, shape);
  }

  /** As {@link #of(float[], long...)}, of int64. */
  public static Tensor of(long[] data, long... shape) {
    return packed(DataType.INT64, data, data.length, shape);
  }

  /** As {@link #of(float[], long...)}, of int32. */
  public static Tensor of(int[] data, long... shape) {
    return packed(DataType.INT32, data, data.length, shape);
  }

  /** As {@link #of(float[], long...)}, of int16. */
  public static Tensor of(short[] data, long... shape) {
    return packed(DataType.INT16, data, data.length, shape);
  }

  /** As {@link #of(float[], long...)}, of int8. */
  public static Tensor of(byte[] data, long... shape) {
    return packed(DataType.INT8, data, data.length, shape);
  }

  /**
   * Makes a tensor from the bits of its elements.
   *
   * @param type a type of 2 bytes: float16, bfloat16, int16 or uint16
   * @param bits the elements
   * @param shape the sizes of the dimensions, outermost first
   * @return the tensor
   */
  public static Tensor of(DataType type, short[] bits, long... shape) {
    return packed(type, bits, bits.length, shape);
  }

  /** As {@link #of(DataType, short[], long...)}, of int8 or uint8. */
  public static Tensor of(DataType type, byte[] bits, long... shape) {
    return packed(type, bits, bits.length, shape);
  }

  /** As {@link #of(DataType, short[], long...)}, of int32 or uint32. */
  public static Tensor of(DataType type, int[] bits, long... shape) {
    return packed(type, bits, bits.length, shape);
  }

  /** As {@link #of(DataType, short[], long...)}, of int64 or uint64. */
  public static Tensor of(DataType type, long[] bits, long... shape) {
    return packed(type, bits, bits.length, shape);
  }

  /**
   * Makes a tensor over the remaining bytes of a buffer, direct or not, without a copy.
   *
   * @param type the type of the elements
   * @param bytes row-major elements; the buffer's order must be {@code LITTLE_ENDIAN}, so that
   *     nobody fills it in the other order by mistake
   * @param shape the sizes of the dimensions, outermost first
   * @return the tensor
   */
  public static Tensor of(DataType type, ByteBuffer bytes, long... shape) {
    return of(type, List.of(bytes), shape);
  }

  /**
   * As {@link #of(DataType, ByteBuffer, long...)}, over several buffers that follow each other, for
   * tensors beyond the 2 GiB of one buffer. Each holds whole elements.
   */
  public static Tensor of(DataType type, List<ByteBuffer> bytes, long... shape) {
    bytes.forEach(buffer -> Elements.check(type, buffer));
    TensorData data = TensorData.of(bytes);
    return new Tensor(type, Shapes.checked(type, shape, data.size() / type.byteSize()), data);
  }

  /**
   * Gives the same data another shape.
   *
   * @param shape the sizes of the dimensions; none: a scalar
   * @return a tensor over the same bytes
   */
  public Tensor reshape(long... shape) {
    Shapes.checkLength(type, shape, getElementCount());
    return new Tensor(type, shape.clone(), data);
  }

  /** Returns the type of the elements. */
  public DataType getDataType() {
    return type;
  }

  /** Returns the sizes of the dimensions, outermost first; none for a scalar. */
  public long[] getShape() {
    return shape.clone();
  }

  /** Returns the number of elements, the product of the shape. */
  public long getElementCount() {
    return data.size() / type.byteSize();
  }

  /**
   * Returns the one element of a tensor that has one, such as a reduced loss.
   *
   * @return the element; of integers the nearest double
   * @throws IllegalStateException there is another number of elements
   */
  public double item() {
    if (getElementCount() != 1) {
      throw new IllegalStateException("expected one element, got " + this);
    }
    return Elements.first(type, asByteBuffer());
  }

  /** Returns the elements of a float32 tensor. */
  public float[] toFloatArray() {
    return (float[]) Elements.unpack(this, float[].class);
  }

  /** Returns the elements of a float64 tensor. */
  public double[] toDoubleArray() {
    return (double[]) Elements.unpack(this, double[].class);
  }

  /** Returns the elements of an int64 tensor, or their bits if uint64. */
  public long[] toLongArray() {
    return (long[]) Elements.unpack(this, long[].class);
  }

  /** Returns the elements of an int32 tensor, or their bits if uint32. */
  public int[] toIntArray() {
    return (int[]) Elements.unpack(this, int[].class);
  }

  /** Returns the elements of an int16 tensor, or their bits if float16, bfloat16 or uint16. */
  public short[] toShortArray() {
    return (short[]) Elements.unpack(this, short[].class);
  }

  /** Returns the elements of an int8 tensor, or their bits if uint8. */
  public byte[] toByteArray() {
    return (byte[]) Elements.unpack(this, byte[].class);
  }

  /**
   * Returns the bytes of the elements, without a copy where they are in one buffer.
   *
   * @return a read-only little-endian buffer
   * @throws IllegalStateException there are 2 GiB or more: use {@link #asByteBuffers}
   */
  public ByteBuffer asByteBuffer() {
    return Elements.joined(data);
  }

  /**
   * Returns the bytes of the elements, without a copy.
   *
   * @return read-only little-endian buffers that follow each other, each of whole elements
   */
  public List<ByteBuffer> asByteBuffers() {
    return data.readOnly();
  }

  @Override
  public String toString() {
    return type + Arrays.toString(shape);
  }

  TensorData data() {
    return data;
  }

  private static Tensor packed(DataType type, Object array, int length, long... shape) {
    Elements.check(type, array);
    return new Tensor(
        type, Shapes.checked(type, shape, length), Elements.pack(type, array, length));
  }
}

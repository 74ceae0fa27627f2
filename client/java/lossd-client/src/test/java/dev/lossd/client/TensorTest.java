package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Arrays and buffers as tensors and back. */
class TensorTest {
  @Test
  void arraysOfEveryTypeComeBack() {
    assertArrayEquals(new float[] {1, -2}, Tensor.of(new float[] {1, -2}).toFloatArray());
    assertArrayEquals(new double[] {1, -2}, Tensor.of(new double[] {1, -2}).toDoubleArray());
    assertArrayEquals(new long[] {1, -2}, Tensor.of(new long[] {1, -2}).toLongArray());
    assertArrayEquals(new int[] {1, -2}, Tensor.of(new int[] {1, -2}).toIntArray());
    assertArrayEquals(new short[] {1, -2}, Tensor.of(new short[] {1, -2}).toShortArray());
    assertArrayEquals(new byte[] {1, -2}, Tensor.of(new byte[] {1, -2}).toByteArray());
  }

  @Test
  void bytesAreLittleEndian() {
    assertEquals(0x04, Tensor.of(new int[] {0x01020304}).asByteBuffer().get(0));
    assertEquals(ByteOrder.LITTLE_ENDIAN, Tensor.of(new int[1]).asByteBuffer().order());
  }

  @Test
  void oneElementOfEveryType() {
    assertEquals(1.5, Tensor.of(new float[] {1.5f}).item());
    assertEquals(0.1, Tensor.of(new double[] {0.1}).item());
    assertEquals(0x1p-24, Tensor.of(DataType.FLOAT16, new short[] {1}).item());
    assertEquals(-1.5, Tensor.of(DataType.FLOAT16, new short[] {(short) 0xbe00}).item());
    assertEquals(65504, Tensor.of(DataType.FLOAT16, new short[] {0x7bff}).item());
    assertEquals(
        Double.NEGATIVE_INFINITY, Tensor.of(DataType.FLOAT16, new short[] {(short) 0xfc00}).item());
    assertEquals(1.5, Tensor.of(DataType.BFLOAT16, new short[] {0x3fc0}).item());
    assertEquals(-1, Tensor.of(new byte[] {-1}).item());
    assertEquals(255, Tensor.of(DataType.UINT8, new byte[] {-1}).item());
    assertEquals(-1, Tensor.of(new short[] {-1}).item());
    assertEquals(65535, Tensor.of(DataType.UINT16, new short[] {-1}).item());
    assertEquals(-1, Tensor.of(new int[] {-1}).item());
    assertEquals(0x1p32 - 1, Tensor.of(DataType.UINT32, new int[] {-1}).item());
    assertEquals(-1, Tensor.of(new long[] {-1}).item());
    assertEquals(0x1p64, Tensor.of(DataType.UINT64, new long[] {-1}).item());
    assertThrows(IllegalStateException.class, () -> Tensor.of(new int[2]).item());
  }

  @Test
  void lengthsHaveToFitTheShape() {
    LossdException error = failure("expected 6 elements", () -> Tensor.of(new float[5], 2, 3));
    assertEquals("LENGTH_MISMATCH", error.getReason());
    assertEquals("data", error.getField());
    failure("SIZE_NEGATIVE", () -> Tensor.of(new float[2], -1, -2));
    failure("SHAPE_OVERFLOW", () -> Tensor.of(new float[2], 1L << 40, 1L << 40));
    failure("SHAPE_OVERFLOW", () -> Tensor.of(new float[2], 1L << 61));
    assertEquals(0, Tensor.of(new float[0], 1L << 40, 1L << 40, 0).getElementCount());
    failure("LENGTH_MISMATCH", () -> Tensor.of(new float[2]).reshape());
  }

  @Test
  void typesHaveToFitTheArray() {
    failure(
        "float32 is no type for elements of short[]",
        () -> Tensor.of(DataType.FLOAT32, new short[1]));
    failure("int64 is no type for elements of int[]", () -> Tensor.of(DataType.INT64, new int[1]));
    assertThrows(IllegalStateException.class, () -> Tensor.of(new int[1]).toFloatArray());
  }

  @Test
  void buffersHaveToBeLittleEndianAndWhole() {
    failure("LITTLE_ENDIAN", () -> Tensor.of(DataType.FLOAT32, ByteBuffer.allocate(4)));
    ByteBuffer odd = ByteBuffer.allocateDirect(6).order(ByteOrder.LITTLE_ENDIAN);
    failure("whole elements", () -> Tensor.of(DataType.FLOAT32, odd));
    assertEquals(2, Tensor.of(DataType.UINT8, ByteBuffer.allocate(2)).getElementCount());
  }

  @Test
  void aBufferIsTakenFromItsPositionOnAndNotCopied() {
    ByteBuffer bytes = ByteBuffer.allocateDirect(12).order(ByteOrder.LITTLE_ENDIAN);
    bytes.position(4);
    Tensor tensor = Tensor.of(DataType.FLOAT32, bytes, 2);
    bytes.putFloat(4, 7).putFloat(8, 8);
    assertArrayEquals(new float[] {7, 8}, tensor.toFloatArray());
  }

  @Test
  void severalBuffersAreOneTensor() {
    Tensor tensor =
        Tensor.of(DataType.INT8, List.of(buffer(1, 2), buffer(), buffer(3), buffer(4, 5, 6)), 2, 3);
    assertArrayEquals(new byte[] {1, 2, 3, 4, 5, 6}, tensor.toByteArray());
    assertEquals(ByteBuffer.wrap(new byte[] {1, 2, 3, 4, 5, 6}), tensor.asByteBuffer());
    for (int begin = 0; begin <= 6; begin++) {
      for (int end = begin; end <= 6; end++) {
        byte[] expected = java.util.Arrays.copyOfRange(tensor.toByteArray(), begin, end);
        assertEquals(ByteString.copyFrom(expected), tensor.data().slice(begin, end));
      }
    }
  }

  @Test
  void bytesArePutAcrossSegments() {
    for (int cut = 0; cut <= 7; cut++) {
      TensorData data = TensorData.allocate(7, 3);
      ByteString bytes = ByteString.copyFrom(new byte[] {1, 2, 3, 4, 5, 6, 7});
      data.put(0, bytes.substring(0, cut));
      data.put(cut, bytes.substring(cut));
      assertEquals(bytes, data.slice(0, 7));
    }
  }

  private static ByteBuffer buffer(int... values) {
    ByteBuffer bytes = ByteBuffer.allocateDirect(values.length);
    for (int value : values) {
      bytes.put((byte) value);
    }
    return bytes.flip();
  }
}

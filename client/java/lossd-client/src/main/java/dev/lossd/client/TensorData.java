package dev.lossd.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * The bytes of a tensor: little-endian, row-major, in one or more buffers that follow each other,
 * since no buffer of Java's holds 2 GiB. Every buffer but the last holds whole elements.
 */
final class TensorData {
  /** Size of the buffers that are made here. */
  static final int SEGMENT_BYTES = 1 << 30;

  private final ByteBuffer[] segments;
  // Where each segment begins, and after them the end.
  private final long[] begins;

  private TensorData(ByteBuffer[] segments) {
    this.segments = segments;
    begins = new long[segments.length + 1];
    for (int i = 0; i < segments.length; i++) {
      begins[i + 1] = begins[i] + segments[i].remaining();
    }
  }

  /** The remaining bytes of these buffers, which stay where they are. */
  static TensorData of(List<ByteBuffer> buffers) {
    ByteBuffer[] segments = new ByteBuffer[buffers.size()];
    for (int i = 0; i < segments.length; i++) {
      segments[i] = buffers.get(i).slice().order(ByteOrder.LITTLE_ENDIAN);
    }
    return new TensorData(segments);
  }

  /** Zeros. */
  static TensorData allocate(long size) {
    return allocate(size, SEGMENT_BYTES);
  }

  /** Zeros in segments of this many bytes. */
  static TensorData allocate(long size, int segmentBytes) {
    List<ByteBuffer> buffers = new ArrayList<>();
    for (long begin = 0; begin < size; begin += segmentBytes) {
      buffers.add(ByteBuffer.allocate((int) Math.min(segmentBytes, size - begin)));
    }
    return of(buffers);
  }

  long size() {
    return begins[segments.length];
  }

  /** The segments, each with its own position, for reading. */
  List<ByteBuffer> readOnly() {
    List<ByteBuffer> found = new ArrayList<>();
    for (ByteBuffer segment : segments) {
      found.add(segment.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN));
    }
    return found;
  }

  /** The segments, each with its own position, for those who fill them. */
  List<ByteBuffer> writable() {
    List<ByteBuffer> found = new ArrayList<>();
    for (ByteBuffer segment : segments) {
      found.add(segment.duplicate().order(ByteOrder.LITTLE_ENDIAN));
    }
    return found;
  }

  /** The bytes of [begin, end), not copied; less than 2 GiB. */
  ByteString slice(long begin, long end) {
    ByteString bytes = ByteString.EMPTY;
    for (int i = find(begin); begin < end; i++) {
      long stop = Math.min(end, begins[i + 1]);
      ByteBuffer piece = segments[i].duplicate();
      piece.position((int) (begin - begins[i])).limit((int) (stop - begins[i]));
      bytes = bytes.concat(UnsafeByteOperations.unsafeWrap(piece.slice()));
      begin = stop;
    }
    return bytes;
  }

  /** Copies bytes to a place that begins here. The caller has seen to it that there is room. */
  void put(long begin, ByteString bytes) {
    int taken = 0;
    for (int i = find(begin); taken < bytes.size(); i++) {
      ByteBuffer place = segments[i].duplicate();
      place.position((int) (begin - begins[i]));
      int count = Math.min(place.remaining(), bytes.size() - taken);
      bytes.substring(taken, taken + count).copyTo(place);
      taken += count;
      begin += count;
    }
  }

  /** The segment that holds a byte. */
  private int find(long offset) {
    int i = 0;
    while (i < segments.length && begins[i + 1] <= offset) {
      i++;
    }
    return i;
  }
}

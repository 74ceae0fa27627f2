package dev.lossd.client;

import com.google.protobuf.ByteString;
import dev.lossd.v1.EvaluateStreamResponse;
import java.util.EnumMap;
import java.util.Map;

/** Tensors of known shape that fill up as replies come. */
final class StreamOutputs {
  private final Expected expected;
  private final Map<Output, TensorData> data = new EnumMap<>(Output.class);
  private final Map<Output, Long> filled = new EnumMap<>(Output.class);
  private EvaluateStreamResponse last;
  private long receivedBytes;

  StreamOutputs(Expected expected) {
    this.expected = expected;
  }

  /** Bytes of tensors that have come. */
  long receivedBytes() {
    return receivedBytes;
  }

  /**
   * Copies the bytes of a reply to their places.
   *
   * @throws LossdException an output was not asked for, or is longer than it can be; or the last
   *     reply came already
   */
  void take(EvaluateStreamResponse reply) {
    if (last != null) {
      throw LossdException.unexpected("something follows the summary");
    }
    for (Output output : Output.values()) {
      ByteString piece = output.of(reply);
      if (!piece.isEmpty()) {
        append(output, piece);
      }
    }
    if (reply.hasSummary()) {
      last = reply;
    }
  }

  /**
   * The result, once the call has ended with OK.
   *
   * @throws LossdException something is missing
   */
  LossResult result() {
    Map<Output, Tensor> tensors = new EnumMap<>(Output.class);
    expected.outputs.forEach(
        (output, spec) -> {
          long got = filled.getOrDefault(output, 0L);
          if (got != spec.bytes) {
            String words = output + " is cut short: " + got + " bytes, expected " + spec.bytes;
            throw LossdException.unexpected(words);
          }
          TensorData bytes = data.getOrDefault(output, TensorData.allocate(0));
          tensors.put(output, new Tensor(spec.type, spec.shape, bytes));
        });
    if (last == null) {
      throw LossdException.unexpected("summary is missing");
    }
    expected.check(true, last.getSummary());
    return new LossResult(tensors, last.getSummary());
  }

  private void append(Output output, ByteString piece) {
    Expected.Spec spec = expected.outputs.get(output);
    long room = spec == null ? 0 : spec.bytes;
    long begin = filled.getOrDefault(output, 0L);
    long end = begin + piece.size();
    if (end > room) {
      throw LossdException.unexpected(output + " has at least " + end + " bytes, expected " + room);
    }
    // Made with its first byte: a problem that the server refuses costs no memory.
    data.computeIfAbsent(output, unused -> TensorData.allocate(room)).put(begin, piece);
    filled.put(output, end);
    receivedBytes += piece.size();
  }
}

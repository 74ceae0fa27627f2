package dev.lossd.client;

import com.google.protobuf.ByteString;
import dev.lossd.v1.EvaluateStreamRequest;
import java.math.BigInteger;
import java.util.Iterator;
import java.util.NoSuchElementException;

/**
 * The messages of EvaluateStream for one problem, in an order that every server accepts: the
 * header, a large weight, class indices, then the input with the companions that go along with it
 * in step.
 */
final class StreamMessages implements Iterator<EvaluateStreamRequest> {
  static final int CHUNK_BYTES = 1 << 20;

  private final LossRequest request;
  private final long chunk;
  private final TensorData weight;
  private final TensorData labels;
  private final TensorData probabilities;
  private final TensorData gradOutput;
  private final long step;

  private boolean begun;
  private boolean ended;
  private long weightSent;
  private long labelsSent;
  private long inputSent;
  private long probabilitiesSent;
  private long gradOutputSent;

  /**
   * Messages that have yet to be made.
   *
   * @param chunkBytes data in a message, all operands together; rounding adds a few bytes
   */
  StreamMessages(LossRequest request, long chunkBytes) {
    this.request = request;
    chunk = chunkBytes;
    boolean soft = request.target.getDataType().isFloating();
    boolean outside = request.weight != null && request.weight.data().size() > Limits.ALWAYS_FITS;
    TensorData none = TensorData.allocate(0);
    weight = outside ? request.weight.data() : none;
    labels = soft ? none : request.target.data();
    probabilities = soft ? request.target.data() : none;
    gradOutput = request.gradOutput == null ? none : request.gradOutput.data();
    long input = request.input.data().size();
    long total = input + probabilities.size() + gradOutput.size();
    step = Math.max(1, scale(chunkBytes, input, Math.max(1, total)));
  }

  /** Bytes of tensors in the messages so far. */
  long sentBytes() {
    boolean inside = begun && request.weight != null && weight.size() == 0;
    return (inside ? request.weight.data().size() : weightSent)
        + labelsSent
        + inputSent
        + probabilitiesSent
        + gradOutputSent;
  }

  @Override
  public boolean hasNext() {
    return !ended;
  }

  @Override
  public EvaluateStreamRequest next() {
    if (ended) {
      throw new NoSuchElementException();
    }
    EvaluateStreamRequest.Builder message = EvaluateStreamRequest.newBuilder();
    if (!begun) {
      begun = true;
      message.setHeader(Messages.header(request, weight.size() == 0));
    } else if (weightSent < weight.size()) {
      long end = Math.min(weight.size(), weightSent + chunk);
      message.setWeight(weight.slice(weightSent, end));
      weightSent = end;
    } else if (labelsSent < labels.size()) {
      long end = Math.min(labels.size(), labelsSent + chunk);
      message.setTarget(labels.slice(labelsSent, end));
      labelsSent = end;
    } else {
      addInput(message);
    }
    return message.build();
  }

  /** The next piece of the input, and beside it the same share of its companions. */
  private void addInput(EvaluateStreamRequest.Builder message) {
    TensorData input = request.input.data();
    long end = Math.min(input.size(), inputSent + step);
    message.setInput(input.slice(inputSent, end));
    inputSent = end;
    // An input without elements ends here too, and its companions go all the same.
    ended = end == input.size();
    long stop = share(probabilities);
    message.setTarget(companion(probabilities, probabilitiesSent, stop));
    probabilitiesSent = stop;
    stop = share(gradOutput);
    message.setGradOutput(companion(gradOutput, gradOutputSent, stop));
    gradOutputSent = stop;
  }

  /** How much of a companion goes with the input so far. A scalar goes at once. */
  private long share(TensorData companion) {
    long size = companion.size();
    return ended || size <= 8 ? size : scale(size, inputSent, request.input.data().size());
  }

  private static ByteString companion(TensorData data, long begin, long end) {
    return begin == end ? ByteString.EMPTY : data.slice(begin, end);
  }

  /** a * b / c rounded down, where the product may be beyond a long. */
  private static long scale(long a, long b, long c) {
    long product = a * b;
    if (Math.multiplyHigh(a, b) == 0 && product >= 0) {
      return product / c;
    }
    return BigInteger.valueOf(a)
        .multiply(BigInteger.valueOf(b))
        .divide(BigInteger.valueOf(c))
        .longValueExact();
  }
}

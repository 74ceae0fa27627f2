package dev.lossd.client;

import dev.lossd.v1.Criterion;
import dev.lossd.v1.Outputs;
import java.time.Duration;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * One problem: tensors, options and wanted results. Immutable; may be used for several calls at the
 * same time. Shapes, types and ranges are checked by the server, which names the field at fault.
 */
public abstract class LossRequest {
  final Tensor input;
  final Tensor target;
  final Tensor weight;
  final Tensor gradOutput;
  final Long ignoreIndex;
  final Integer classAxis;
  final Reduction reduction;
  final EmptyMean emptyMean;
  final Double normalizer;
  final Outputs outputs;
  final Duration timeout;
  final Transport transport;
  final int chunkBytes;
  final Consumer<? super Progress> progress;

  LossRequest(Builder<?> builder) {
    input = builder.input;
    target = builder.target;
    weight = builder.weight;
    gradOutput = builder.gradOutput;
    ignoreIndex = builder.ignoreIndex;
    classAxis = builder.classAxis;
    reduction = builder.reduction;
    emptyMean = builder.emptyMean;
    normalizer = builder.normalizer;
    outputs = builder.outputs.build();
    timeout = builder.timeout;
    transport = builder.transport;
    chunkBytes = builder.chunkBytes;
    progress = builder.progress;
  }

  /** The criterion's own options, with this message for the weight, or none where it is null. */
  abstract void fill(Criterion.Builder criterion, dev.lossd.v1.Tensor weight);

  /** Bytes of all operands. */
  final long byteSize() {
    return input.data().size()
        + target.data().size()
        + (weight == null ? 0 : weight.data().size())
        + (gradOutput == null ? 0 : gradOutput.data().size());
  }

  /**
   * Builds a problem. Defaults are those of PyTorch.
   *
   * @param <B> the builder's own type
   */
  public abstract static class Builder<B extends Builder<B>> {
    private final Tensor input;
    private final Tensor target;
    private Tensor weight;
    private Tensor gradOutput;
    private Long ignoreIndex;
    private Integer classAxis;
    private Reduction reduction = Reduction.MEAN;
    private EmptyMean emptyMean = EmptyMean.NAN;
    private Double normalizer;
    private final Outputs.Builder outputs = Outputs.newBuilder();
    private Duration timeout;
    private Transport transport = Transport.AUTO;
    private int chunkBytes = StreamMessages.CHUNK_BYTES;
    private Consumer<? super Progress> progress;

    Builder(Tensor input, Tensor target) {
      this.input = Objects.requireNonNull(input, "input");
      this.target = Objects.requireNonNull(target, "target");
    }

    abstract B self();

    /** A weight for each class: shape (C), of the input's type, or float32 beside a half. */
    public B weight(Tensor weight) {
      this.weight = Objects.requireNonNull(weight, "weight");
      return self();
    }

    /** A label whose positions neither count nor get a gradient; need not be a class. -100. */
    public B ignoreIndex(long ignoreIndex) {
      this.ignoreIndex = ignoreIndex;
      return self();
    }

    /**
     * Axis of the classes, negative from the end. Default 1, or 0 for an input of one dimension.
     */
    public B classAxis(int classAxis) {
      this.classAxis = classAxis;
      return self();
    }

    /** How the losses are reduced; default {@link Reduction#MEAN}. */
    public B reduction(Reduction reduction) {
      this.reduction = Objects.requireNonNull(reduction, "reduction");
      return self();
    }

    /** The mean where no position counts; default {@link EmptyMean#NAN}. */
    public B emptyMean(EmptyMean emptyMean) {
      this.emptyMean = Objects.requireNonNull(emptyMean, "emptyMean");
      return self();
    }

    /** Replaces the divisor of the mean: finite and not 0. */
    public B normalizer(double normalizer) {
      this.normalizer = normalizer;
      return self();
    }

    /**
     * The incoming gradient: of the loss's shape, and the input's type or float32 beside a half.
     */
    public B gradOutput(Tensor gradOutput) {
      this.gradOutput = Objects.requireNonNull(gradOutput, "gradOutput");
      return self();
    }

    /** Whether the gradient of the input is wanted; default false. */
    public B gradInput(boolean wanted) {
      outputs.setGradInput(wanted);
      return self();
    }

    /** Whether the gradient of the class weights is wanted; default false. */
    public B gradWeight(boolean wanted) {
      outputs.setGradWeight(wanted);
      return self();
    }

    /** Whether log(sum(exp(logits))) of each position is wanted; default false. */
    public B logSumExp(boolean wanted) {
      outputs.setLogSumExp(wanted);
      return self();
    }

    /** Above 0: counts the positions whose class is among the k greatest logits. */
    public B topK(int topK) {
      if (topK < 0) {
        throw LossdException.invalid("outputs.top_k", "", "expected at least 0, got " + topK);
      }
      outputs.setTopK(topK);
      return self();
    }

    /** The time for the whole call, in place of the client's. */
    public B timeout(Duration timeout) {
      this.timeout = Timeouts.checked(timeout);
      return self();
    }

    /** How the problem travels; default {@link Transport#AUTO}. */
    public B transport(Transport transport) {
      this.transport = Objects.requireNonNull(transport, "transport");
      return self();
    }

    /** Bytes of data in one message of a stream, cut to what the server takes. Default 1 MiB. */
    public B chunkBytes(int chunkBytes) {
      if (chunkBytes < 1) {
        throw LossdException.invalid("chunkBytes", "", "expected at least 1, got " + chunkBytes);
      }
      this.chunkBytes = chunkBytes;
      return self();
    }

    /**
     * Is told how far a stream has come, after each message sent or received. It is called by
     * threads of gRPC, one after the other, and must not block. An exception ends the call.
     */
    public B onProgress(Consumer<? super Progress> progress) {
      this.progress = Objects.requireNonNull(progress, "progress");
      return self();
    }

    final Outputs.Builder outputs() {
      return outputs;
    }
  }
}

package dev.lossd.client;

import dev.lossd.v1.Criterion;
import dev.lossd.v1.CrossEntropy;

/** A problem of cross-entropy, as torch.nn.functional.cross_entropy takes it. */
public final class CrossEntropyRequest extends LossRequest {
  private final double labelSmoothing;

  private CrossEntropyRequest(Builder builder) {
    super(builder);
    labelSmoothing = builder.labelSmoothing;
  }

  /**
   * Begins a problem.
   *
   * @param input logits (C), (N, C) or (N, C, d1, ..., dK), of float32, float64, float16 or
   *     bfloat16
   * @param target class indices of any integer type, of the input's shape without its class axis;
   *     or probabilities of the input's shape, and of its type or float32 beside a half
   * @return a builder
   */
  public static Builder builder(Tensor input, Tensor target) {
    return new Builder(input, target);
  }

  @Override
  void fill(Criterion.Builder criterion, dev.lossd.v1.Tensor weight) {
    CrossEntropy.Builder own = CrossEntropy.newBuilder().setLabelSmoothing(labelSmoothing);
    if (weight != null) {
      own.setWeight(weight);
    }
    if (ignoreIndex != null) {
      own.setIgnoreIndex(ignoreIndex);
    }
    if (classAxis != null) {
      own.setClassAxis(classAxis);
    }
    criterion.setCrossEntropy(own);
  }

  /** Builds a problem of cross-entropy. */
  public static final class Builder extends LossRequest.Builder<Builder> {
    private double labelSmoothing;

    private Builder(Tensor input, Tensor target) {
      super(input, target);
    }

    @Override
    Builder self() {
      return this;
    }

    /** Share of the target mass that is spread evenly over all classes, in [0, 1]; default 0. */
    public Builder labelSmoothing(double labelSmoothing) {
      this.labelSmoothing = labelSmoothing;
      return this;
    }

    /** Whether the gradient of a probability target is wanted; default false. */
    public Builder gradTarget(boolean wanted) {
      outputs().setGradTarget(wanted);
      return this;
    }

    /**
     * Ends the problem.
     *
     * @return the problem
     */
    public CrossEntropyRequest build() {
      return new CrossEntropyRequest(this);
    }
  }
}

package dev.lossd.client;

import dev.lossd.v1.Criterion;
import dev.lossd.v1.NllLoss;

/** A problem of negative log-likelihood, as torch.nn.functional.nll_loss takes it. */
public final class NllLossRequest extends LossRequest {
  private NllLossRequest(Builder builder) {
    super(builder);
  }

  /**
   * Begins a problem.
   *
   * @param input log-probabilities (C), (N, C) or (N, C, d1, ..., dK), of float32, float64, float16
   *     or bfloat16; they are taken as they are
   * @param target class indices of any integer type, of the input's shape without its class axis
   * @return a builder
   */
  public static Builder builder(Tensor input, Tensor target) {
    return new Builder(input, target);
  }

  @Override
  void fill(Criterion.Builder criterion, dev.lossd.v1.Tensor weight) {
    NllLoss.Builder own = NllLoss.newBuilder();
    if (weight != null) {
      own.setWeight(weight);
    }
    if (ignoreIndex != null) {
      own.setIgnoreIndex(ignoreIndex);
    }
    if (classAxis != null) {
      own.setClassAxis(classAxis);
    }
    criterion.setNllLoss(own);
  }

  /** Builds a problem of negative log-likelihood. */
  public static final class Builder extends LossRequest.Builder<Builder> {
    private Builder(Tensor input, Tensor target) {
      super(input, target);
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Ends the problem.
     *
     * @return the problem
     */
    public NllLossRequest build() {
      return new NllLossRequest(this);
    }
  }
}

package dev.lossd.client;

import dev.lossd.v1.Summary;
import java.util.Optional;

/** The merged summary of shards of one batch, and the loss over all of them. */
public final class CombinedResult {
  private final Summary summary;
  private final Tensor loss;

  CombinedResult(Summary summary, Tensor loss) {
    this.summary = summary;
    this.loss = loss;
  }

  /**
   * Returns the reduced loss, with the bits of one call over all positions.
   *
   * @return a scalar, float64 for float64 input, else float32; empty with reduction none
   */
  public Optional<Tensor> getLoss() {
    return Optional.ofNullable(loss);
  }

  /**
   * Returns the natural divisor of the mean over all shards, as {@link LossResult#getNormalizer}.
   *
   * @return the divisor
   */
  public double getNormalizer() {
    return ExactSums.toDouble(summary.getNormalizer(), summary.getDtype());
  }

  /**
   * Returns the sum of the losses of all positions, as {@link LossResult#getLossSum}.
   *
   * @return the sum
   */
  public double getLossSum() {
    return ExactSums.toDouble(summary.getLossSum(), summary.getDtype());
  }

  /**
   * Returns the exact sums, to be combined further.
   *
   * @return the message
   */
  public Summary getSummary() {
    return summary;
  }
}

package dev.lossd.client;

import dev.lossd.v1.Summary;
import java.util.Map;
import java.util.Optional;

/** The results of one problem. */
public final class LossResult {
  private final Map<Output, Tensor> tensors;
  private final Summary summary;

  LossResult(Map<Output, Tensor> tensors, Summary summary) {
    this.tensors = tensors;
    this.summary = summary;
  }

  /**
   * Returns the loss.
   *
   * @return a scalar, or one loss for each position with reduction none; float64 for float64 input,
   *     else float32
   */
  public Tensor getLoss() {
    return tensors.get(Output.LOSS);
  }

  /**
   * Returns the gradient of the input, of its shape and type.
   *
   * @return empty unless asked for
   */
  public Optional<Tensor> getGradInput() {
    return Optional.ofNullable(tensors.get(Output.GRAD_INPUT));
  }

  /**
   * Returns the gradient of a probability target, of its shape and type.
   *
   * @return empty unless asked for
   */
  public Optional<Tensor> getGradTarget() {
    return Optional.ofNullable(tensors.get(Output.GRAD_TARGET));
  }

  /**
   * Returns the gradient of the class weights, of their shape and type.
   *
   * @return empty unless asked for
   */
  public Optional<Tensor> getGradWeight() {
    return Optional.ofNullable(tensors.get(Output.GRAD_WEIGHT));
  }

  /**
   * Returns log(sum(exp(logits))) of each position, of the loss's type.
   *
   * @return empty unless asked for
   */
  public Optional<Tensor> getLogSumExp() {
    return Optional.ofNullable(tensors.get(Output.LOG_SUM_EXP));
  }

  /**
   * Returns the number of positions, ignored ones included.
   *
   * @return a count
   */
  public long getPositions() {
    return summary.getPositions();
  }

  /**
   * Returns the number of ignored positions.
   *
   * @return a count
   */
  public long getIgnored() {
    return summary.getIgnored();
  }

  /**
   * Returns the number of positions whose class has the greatest logit.
   *
   * @return a count
   */
  public long getCorrect() {
    return summary.getCorrect();
  }

  /**
   * Returns the number of positions whose class is among the top k logits.
   *
   * @return a count; 0 unless {@code topK} was given
   */
  public long getCorrectTopK() {
    return summary.getCorrectTopK();
  }

  /**
   * Returns the natural divisor of the mean, whatever the reduction: the sum of the weights of the
   * positions that count, or for a probability target the number of positions. Summed exactly and
   * rounded once.
   *
   * @return the divisor
   */
  public double getNormalizer() {
    return ExactSums.toDouble(summary.getNormalizer(), summary.getDtype());
  }

  /**
   * Returns the sum of the losses of all positions, whatever the reduction. Summed exactly and
   * rounded once.
   *
   * @return the sum
   */
  public double getLossSum() {
    return ExactSums.toDouble(summary.getLossSum(), summary.getDtype());
  }

  /**
   * Returns the exact sums, for {@link LossdClient#combine}.
   *
   * @return the message
   */
  public Summary getSummary() {
    return summary;
  }

  @Override
  public String toString() {
    Tensor loss = getLoss();
    String value = loss.getElementCount() == 1 ? String.valueOf(loss.item()) : loss.toString();
    return "LossResult(loss " + value + ", positions " + getPositions() + ")";
  }
}

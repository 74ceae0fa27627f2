package dev.lossd.client;

/** How the losses of the positions become the loss that is returned. */
public enum Reduction {
  /** The sum of the losses over the sum of the weights of the positions that count; the default. */
  MEAN,
  /** The exact sum of the losses, rounded once. */
  SUM,
  /** No reduction: one loss for each position. */
  NONE;

  dev.lossd.v1.Reduction toProto() {
    return dev.lossd.v1.Reduction.valueOf("REDUCTION_" + name());
  }
}

package dev.lossd.client;

/** The mean where no position counts: there are none, or all of them are ignored. */
public enum EmptyMean {
  /** NaN, as in PyTorch; the default. */
  NAN,
  /** Zero. */
  ZERO;

  dev.lossd.v1.EmptyMean toProto() {
    return dev.lossd.v1.EmptyMean.valueOf("EMPTY_MEAN_" + name());
  }
}

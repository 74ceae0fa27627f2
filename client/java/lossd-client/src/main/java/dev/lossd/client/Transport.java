package dev.lossd.client;

/** How a problem travels. */
public enum Transport {
  /** One message up to 1 MiB or the server's limit, above that a stream; the default. */
  AUTO,
  /** One message each way. */
  UNARY,
  /** Pieces in both directions at the same time. */
  STREAM
}

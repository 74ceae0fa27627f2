package dev.lossd.client;

import dev.lossd.v1.GetServerInfoResponse;

/** How much data fits a message. The server is asked once. */
final class Limits {
  // Every server takes messages of this size: its flag goes no lower.
  private static final int SMALLEST_LIMIT = 1 << 16;

  // Room in a message for all that is not data: tags, lengths, and a header without its weight.
  private static final int OVERHEAD = 1 << 12;

  /** Data of this size fits a message of every server. */
  static final int ALWAYS_FITS = SMALLEST_LIMIT - OVERHEAD;

  private volatile long mostData;

  /** How much data fits; 0 where the server has yet to be asked. */
  long mostData() {
    return mostData;
  }

  /** Keeps what a server said. */
  void set(GetServerInfoResponse info) {
    mostData = Math.max(info.getLimits().getMaxMessageBytes() - OVERHEAD, ALWAYS_FITS);
  }

  /** Forgets it: a server with other limits may have taken the place of that one. */
  void forget() {
    mostData = 0;
  }
}

package dev.lossd.client;

import io.grpc.Context;
import io.grpc.Deadline;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** Times that calls may take. */
final class Timeouts {
  // Longer ones are no limit; Duration.toNanos() would overflow.
  private static final Duration LONGEST = Duration.ofDays(36_500);

  private Timeouts() {}

  /**
   * Holds a timeout to being one.
   *
   * @throws LossdException it is not above 0
   */
  static Duration checked(Duration timeout) {
    if (timeout.isNegative() || timeout.isZero()) {
      throw LossdException.invalid("timeout", "", "expected more than 0, got " + timeout);
    }
    return timeout;
  }

  /**
   * When a call has to be over, by its timeout and the gRPC context that it is made in.
   *
   * @param own the timeout of the call; null: that of the client
   * @param ofClient null: none
   * @return null: never
   */
  static Deadline deadline(Duration own, Duration ofClient) {
    Duration timeout = own == null ? ofClient : own;
    Deadline outer = Context.current().getDeadline();
    if (timeout == null || timeout.compareTo(LONGEST) > 0) {
      return outer;
    }
    Deadline inner = Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
    return outer == null ? inner : inner.minimum(outer);
  }
}

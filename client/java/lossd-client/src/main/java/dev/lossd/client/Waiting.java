package dev.lossd.client;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** Blocking calls out of futures. */
final class Waiting {
  private Waiting() {}

  /**
   * Waits for a future. An interrupt cancels it.
   *
   * @throws LossdException it failed, or the thread was interrupted, which it then still is
   */
  static <T> T on(CompletableFuture<T> future) {
    try {
      return future.get();
    } catch (InterruptedException error) {
      future.cancel(true);
      Thread.currentThread().interrupt();
      throw LossdException.cancelled("the thread was interrupted", error);
    } catch (ExecutionException error) {
      if (error.getCause() instanceof LossdException) {
        // Made anew, for the trace of this thread.
        throw ((LossdException) error.getCause()).again();
      }
      throw new IllegalStateException(error.getCause());
    }
  }
}

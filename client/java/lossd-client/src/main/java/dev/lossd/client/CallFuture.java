package dev.lossd.client;

import java.util.concurrent.CompletableFuture;

/**
 * The future of work that can be stopped: cancelling it stops what it waits for.
 *
 * @param <T> the result
 */
class CallFuture<T> extends CompletableFuture<T> {
  private Runnable stop;

  /** Names what there is to stop at present; stops it at once where this was cancelled already. */
  final void onCancel(Runnable stop) {
    synchronized (this) {
      this.stop = stop;
    }
    if (isCancelled()) {
      stop.run();
    }
  }

  /** Ends as another future does, and cancels that one with itself. */
  final void follow(CompletableFuture<T> other) {
    onCancel(() -> other.cancel(true));
    other.whenComplete(
        (value, error) -> {
          if (error == null) {
            complete(value);
          } else {
            completeExceptionally(error);
          }
        });
  }

  @Override
  public final boolean cancel(boolean mayInterruptIfRunning) {
    boolean cancelled = super.cancel(mayInterruptIfRunning);
    Runnable present;
    synchronized (this) {
      present = stop;
    }
    if (cancelled && present != null) {
      present.run();
    }
    return cancelled;
  }
}

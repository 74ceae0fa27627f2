package dev.lossd.client;

import io.grpc.Context;
import io.grpc.Deadline;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * A call that is made again while the server cannot be reached, or says when to try again. Calls of
 * lossd have no effect, so each of them may be repeated.
 *
 * @param <T> the result
 */
final class Retrying<T> extends CallFuture<T> {
  /** How often a call is made at most. */
  static final int ATTEMPTS = 4;

  private static final double FIRST_PAUSE_MILLIS = 50;
  private static final double GROWTH = 3;

  private final Connection connection;
  private final Deadline deadline;
  private final Supplier<CallFuture<T>> attempt;
  private final Context context = Context.current();
  private int made;

  private Retrying(Connection connection, Deadline deadline, Supplier<CallFuture<T>> attempt) {
    this.connection = connection;
    this.deadline = deadline;
    this.attempt = attempt;
  }

  /**
   * Makes the first attempt.
   *
   * @param deadline none is made after it; null: no limit
   */
  static <T> CompletableFuture<T> start(
      Connection connection, Deadline deadline, Supplier<CallFuture<T>> attempt) {
    Retrying<T> future = new Retrying<>(connection, deadline, attempt);
    future.run();
    return future;
  }

  /**
   * The pause after an attempt that failed: 50 ms, 150 ms and 450 ms, a fifth more or less, since
   * clients that lost one server should not all come back at once; or longer where the server says
   * so.
   *
   * @param made how many attempts there were
   */
  static Duration pause(int made, LossdException error) {
    double factor = ThreadLocalRandom.current().nextDouble(0.8, 1.2);
    double millis = FIRST_PAUSE_MILLIS * Math.pow(GROWTH, made - 1) * factor;
    Duration own = Duration.ofNanos((long) (millis * 1e6));
    return error.getRetryAfter().filter(asked -> asked.compareTo(own) > 0).orElse(own);
  }

  private void run() {
    if (isDone()) {
      return;
    }
    made++;
    CallFuture<T> call;
    Context previous = context.attach();
    try {
      call = attempt.get();
    } catch (RuntimeException error) {
      completeExceptionally(error);
      return;
    } finally {
      context.detach(previous);
    }
    onCancel(() -> call.cancel(true));
    call.whenComplete(
        (value, error) -> {
          if (error == null) {
            complete(value);
          } else {
            failed(Errors.from(error, connection));
          }
        });
  }

  private void failed(LossdException error) {
    if (made >= ATTEMPTS || !Errors.mayRetry(error)) {
      completeExceptionally(error);
      return;
    }
    Duration pause = pause(made, error);
    if (deadline != null && deadline.timeRemaining(TimeUnit.NANOSECONDS) <= pause.toNanos()) {
      completeExceptionally(error);
      return;
    }
    CompletableFuture.delayedExecutor(pause.toNanos(), TimeUnit.NANOSECONDS)
        .execute(
            () -> {
              connection.reconnect();
              run();
            });
  }
}

package dev.lossd.client;

import io.grpc.Deadline;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * Many small problems over one stream, each answered as soon as it is done. Safe for use from
 * several threads.
 *
 * <p>A problem that fails does not end the stream. A stream that breaks is opened again, and what
 * has no answer yet is sent again. Problems of more than 60 KiB are evaluated by calls of their
 * own.
 */
public final class ManyStream implements AutoCloseable {
  // The server takes 256 problems before it waits for answers to leave; twice as many keep it busy.
  private static final int WINDOW = 512;

  private final Evaluator evaluator;
  private final ManyExchange exchange;
  private final Semaphore window = new Semaphore(WINDOW);
  private final Set<CompletableFuture<LossResult>> large = ConcurrentHashMap.newKeySet();
  private long unfinished;
  private boolean closed;

  ManyStream(Evaluator evaluator) {
    this.evaluator = evaluator;
    exchange = new ManyExchange(evaluator.connection());
  }

  /**
   * Sends a problem. While 512 problems have no answer this waits, unless a function that depends
   * on another problem's future calls it.
   *
   * @param request the problem
   * @return the result to come
   * @throws LossdException this was closed, no time is left, or the thread was interrupted
   */
  public CompletableFuture<LossResult> submit(LossRequest request) {
    Deadline deadline = evaluator.deadline(request.timeout);
    boolean waited = !ManyProblem.isCompleting();
    if (waited) {
      acquire(deadline);
    }
    boolean started = false;
    try {
      begin();
      CompletableFuture<LossResult> future = start(request, deadline);
      started = true;
      future.whenComplete((result, error) -> end(waited));
      return future;
    } finally {
      if (!started) {
        end(waited);
      }
    }
  }

  /** Refuses further problems and waits until all are answered. An interrupt cancels them. */
  @Override
  public void close() {
    exchange.finishWhenIdle();
    try {
      synchronized (this) {
        closed = true;
        while (unfinished > 0 && !ManyProblem.isCompleting()) {
          wait();
        }
      }
    } catch (InterruptedException error) {
      cancel();
      Thread.currentThread().interrupt();
    }
  }

  /** Refuses further problems and ends those without an answer, with code CANCELLED. */
  public void cancel() {
    synchronized (this) {
      closed = true;
    }
    exchange.cancel(LossdException.cancelled("the stream was cancelled", null));
    large.forEach(future -> future.cancel(true));
  }

  private CompletableFuture<LossResult> start(LossRequest request, Deadline deadline) {
    if (request.byteSize() > Limits.ALWAYS_FITS) {
      CompletableFuture<LossResult> call = evaluator.evaluate(request);
      large.add(call);
      call.whenComplete((result, error) -> large.remove(call));
      return call;
    }
    ManyProblem problem = exchange.add(request);
    if (deadline != null) {
      limit(problem, deadline);
    }
    return problem.future;
  }

  /** Ends a problem at its deadline. */
  private static void limit(ManyProblem problem, Deadline deadline) {
    CompletableFuture<Void> timer =
        new CompletableFuture<Void>()
            .orTimeout(deadline.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS);
    timer.whenComplete(
        (unused, error) -> {
          if (error != null) {
            // Not in the timer's thread, which serves the whole program.
            ForkJoinPool.commonPool()
                .execute(() -> problem.fail(LossdException.late("no answer within the timeout")));
          }
        });
    problem.future.whenComplete((result, error) -> timer.complete(null));
  }

  private void acquire(Deadline deadline) {
    try {
      if (deadline == null) {
        window.acquire();
      } else if (!window.tryAcquire(
          deadline.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS)) {
        throw LossdException.late("no answer to earlier problems within the timeout");
      }
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw LossdException.cancelled("the thread was interrupted", error);
    }
  }

  private synchronized void begin() {
    unfinished++;
    if (closed) {
      throw LossdException.closed("the stream was closed; open another one");
    }
  }

  private void end(boolean waited) {
    if (waited) {
      window.release();
    }
    synchronized (this) {
      unfinished--;
      notifyAll();
    }
  }
}

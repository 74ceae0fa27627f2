package dev.lossd.client;

import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;
import dev.lossd.v1.LossServiceGrpc;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.stub.ClientCalls;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * The calls of EvaluateMany behind a stream of problems: one at a time, and another one where it
 * breaks. Futures are completed without the lock.
 */
final class ManyExchange {
  private final Connection connection;
  private final Context context = Context.current();
  private final Map<Long, ManyProblem> pending = new LinkedHashMap<>();
  private final Deque<ManyProblem> unsent = new ArrayDeque<>();
  private ManyCall call;
  private boolean pausing;
  private boolean finishing;
  private int failures;
  private long nextId;

  ManyExchange(Connection connection) {
    this.connection = connection;
  }

  /**
   * Takes a problem to send it.
   *
   * @throws LossdException no message can hold it, or the client was closed
   */
  ManyProblem add(LossRequest request) {
    ManyProblem problem;
    synchronized (this) {
      open();
      problem = new ManyProblem(nextId++, request);
      pending.put(problem.id, problem);
      unsent.add(problem);
      send();
    }
    problem.future.whenComplete((result, error) -> remove(problem));
    return problem;
  }

  /** Ends the call as soon as every problem is done. */
  synchronized void finishWhenIdle() {
    finishing = true;
    finishIfIdle();
  }

  /** Ends the call and fails every problem without an answer. */
  void cancel(LossdException error) {
    ManyCall ended;
    synchronized (this) {
      ended = call;
      call = null;
    }
    if (ended != null) {
      ended.requests().cancel("cancelled by the caller", null);
    }
    failAll(error);
  }

  private synchronized void remove(ManyProblem problem) {
    pending.remove(problem.id);
    finishIfIdle();
  }

  private void finishIfIdle() {
    if (finishing && pending.isEmpty() && call != null) {
      call.requests().onCompleted();
      call = null;
    }
  }

  private void open() {
    if (call != null || pausing) {
      return;
    }
    Context previous = context.attach();
    try {
      ClientCall<EvaluateManyRequest, EvaluateManyResponse> started =
          connection.newCall(LossServiceGrpc.getEvaluateManyMethod(), null);
      call = new ManyCall(this, connection);
      ClientCalls.asyncBidiStreamingCall(started, call);
    } finally {
      context.detach(previous);
    }
  }

  /** Sends while the transport has room. */
  synchronized void send() {
    while (call != null && call.requests().isReady() && !unsent.isEmpty()) {
      ManyProblem problem = unsent.poll();
      if (!problem.future.isDone()) {
        call.requests().onNext(problem.message);
      }
    }
  }

  /** Takes an answer of a call. */
  void answered(ManyCall from, EvaluateManyResponse answer) {
    ManyProblem problem;
    boolean asked;
    synchronized (this) {
      if (call != from) {
        return;
      }
      problem = pending.get(answer.getId());
      asked = answer.getId() >= 0 && answer.getId() < nextId;
      failures = 0;
    }
    if (!asked) {
      String id = Long.toUnsignedString(answer.getId());
      cancel(LossdException.unexpected("an answer of id " + id + ", which nobody asked"));
    } else if (problem != null) {
      LossdException busy = problem.take(answer, connection);
      if (busy != null) {
        later(problem.refusals(), busy, () -> again(problem));
      }
    }
  }

  private synchronized void again(ManyProblem problem) {
    if (pending.containsKey(problem.id)) {
      unsent.add(problem);
      open();
      send();
    }
  }

  /** A call has ended; what it left without an answer is sent again where that helps. */
  void ended(ManyCall which, LossdException error) {
    synchronized (this) {
      if (call != which) {
        return;
      }
      call = null;
      if (pending.isEmpty()) {
        return;
      }
      if (Errors.mayReplay(error) && ++failures < Retrying.ATTEMPTS) {
        pausing = true;
        later(failures, error, this::reopen);
        return;
      }
    }
    failAll(error);
  }

  private synchronized void reopen() {
    pausing = false;
    unsent.clear();
    unsent.addAll(pending.values());
    connection.reconnect();
    if (!pending.isEmpty()) {
      open();
      send();
    }
  }

  /** Does something after the pause that an error asks for. */
  private void later(int made, LossdException error, Runnable action) {
    CompletableFuture.delayedExecutor(Retrying.pause(made, error).toNanos(), TimeUnit.NANOSECONDS)
        .execute(
            () -> {
              try {
                action.run();
              } catch (LossdException closed) {
                failAll(closed);
              }
            });
  }

  private void failAll(LossdException error) {
    List<ManyProblem> left;
    synchronized (this) {
      left = new ArrayList<>(pending.values());
      failures = 0;
    }
    left.forEach(problem -> problem.fail(error));
  }
}

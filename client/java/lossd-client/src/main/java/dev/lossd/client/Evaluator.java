package dev.lossd.client;

import dev.lossd.v1.EvaluateResponse;
import dev.lossd.v1.GetServerInfoRequest;
import dev.lossd.v1.GetServerInfoResponse;
import dev.lossd.v1.LossServiceGrpc;
import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;

/** Evaluates problems, each by one message or a stream. */
final class Evaluator {
  // More than this goes by stream, where the transport is not chosen.
  private static final int UNARY_BYTES = 1 << 20;

  private final Connection connection;
  private final Duration timeout;
  private final Limits limits = new Limits();

  Evaluator(Connection connection, Duration timeout) {
    this.connection = connection;
    this.timeout = timeout;
  }

  Connection connection() {
    return connection;
  }

  /** When a call with this timeout (null: the client's) has to be over; null: never. */
  Deadline deadline(Duration own) {
    return Timeouts.deadline(own, timeout);
  }

  /** Evaluates a problem, again where that helps. */
  CompletableFuture<LossResult> evaluate(LossRequest request) {
    Deadline deadline = deadline(request.timeout);
    CompletableFuture<LossResult> future =
        Retrying.start(connection, deadline, () -> attempt(request, deadline));
    future.whenComplete(
        (result, error) -> {
          if (error instanceof LossdException
              && ((LossdException) error).getCode() == Status.Code.RESOURCE_EXHAUSTED) {
            limits.forget();
          }
        });
    return future;
  }

  /** Asks the server what it is. */
  CallFuture<GetServerInfoResponse> info(Deadline deadline) {
    CallFuture<GetServerInfoResponse> asked =
        connection.unary(
            LossServiceGrpc.getGetServerInfoMethod(),
            GetServerInfoRequest.getDefaultInstance(),
            deadline);
    asked.thenAccept(limits::set);
    return asked;
  }

  private CallFuture<LossResult> attempt(LossRequest request, Deadline deadline) {
    if (!needsLimits(request) || limits.mostData() > 0) {
      return evaluate(request, limits.mostData(), deadline);
    }
    CallFuture<LossResult> future = new CallFuture<>();
    CallFuture<GetServerInfoResponse> asked = info(deadline);
    future.onCancel(() -> asked.cancel(true));
    asked.whenComplete(
        (info, error) -> {
          try {
            if (error != null && !isUnknown(error)) {
              future.completeExceptionally(error);
            } else if (!future.isDone()) {
              future.follow(evaluate(request, limits.mostData(), deadline));
            }
          } catch (RuntimeException failure) {
            future.completeExceptionally(failure);
          }
        });
    return future;
  }

  /** A proxy may let nothing but evaluations through. */
  private static boolean isUnknown(Throwable error) {
    return error instanceof LossdException
        && ((LossdException) error).getCode() == Status.Code.UNIMPLEMENTED;
  }

  private static boolean needsLimits(LossRequest request) {
    if (request.byteSize() <= Limits.ALWAYS_FITS || request.transport == Transport.UNARY) {
      return false;
    }
    return request.transport == Transport.AUTO || request.chunkBytes > Limits.ALWAYS_FITS;
  }

  /**
   * Makes one call.
   *
   * @param known how much data fits a message; 0: not known
   */
  private CallFuture<LossResult> evaluate(LossRequest request, long known, Deadline deadline) {
    long mostData = Math.max(known, Limits.ALWAYS_FITS);
    boolean fits = request.byteSize() <= Math.min(UNARY_BYTES, mostData);
    if (request.transport == Transport.UNARY || (request.transport == Transport.AUTO && fits)) {
      return unary(request, deadline);
    }
    return StreamCall.start(request, Math.min(request.chunkBytes, mostData), connection, deadline);
  }

  private CallFuture<LossResult> unary(LossRequest request, Deadline deadline) {
    CallFuture<LossResult> future = new CallFuture<>();
    CallFuture<EvaluateResponse> call =
        connection.unary(LossServiceGrpc.getEvaluateMethod(), Messages.whole(request), deadline);
    future.onCancel(() -> call.cancel(true));
    call.whenComplete(
        (response, error) -> {
          try {
            if (error != null) {
              future.completeExceptionally(error);
            } else {
              future.complete(Replies.result(response, new Expected(request)));
            }
          } catch (LossdException failure) {
            future.completeExceptionally(failure);
          }
        });
    return future;
  }
}

package dev.lossd.client;

import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;

/** A problem on its way through EvaluateMany. */
final class ManyProblem {
  // Set while futures are completed here: what they call must not wait for further answers.
  private static final ThreadLocal<Boolean> COMPLETING = ThreadLocal.withInitial(() -> false);

  final long id;
  final EvaluateManyRequest message;
  final CallFuture<LossResult> future = new CallFuture<>();
  private final Expected expected;
  private int refusals;

  /**
   * A problem that has yet to be sent.
   *
   * @throws LossdException no message can hold it
   */
  ManyProblem(long id, LossRequest request) {
    this.id = id;
    message =
        EvaluateManyRequest.newBuilder().setId(id).setRequest(Messages.whole(request)).build();
    expected = new Expected(request);
  }

  /** Whether this thread completes the future of a problem just now. */
  static boolean isCompleting() {
    return COMPLETING.get();
  }

  /** How often the server has refused this for now. */
  int refusals() {
    return refusals;
  }

  /**
   * Takes the answer.
   *
   * @return the error after which it is to be sent again; null where it is done
   */
  LossdException take(EvaluateManyResponse answer, Connection connection) {
    if (answer.hasResponse()) {
      try {
        LossResult result = Replies.result(answer.getResponse(), expected);
        completing(() -> future.complete(result));
      } catch (LossdException error) {
        fail(error);
      }
      return null;
    }
    LossdException error =
        answer.hasError()
            ? Errors.from(answer.getError(), connection)
            : LossdException.unexpected("neither a response nor an error");
    if (Errors.mayRetry(error) && ++refusals < Retrying.ATTEMPTS) {
      return error;
    }
    fail(error);
    return null;
  }

  /** Ends this without a result. */
  void fail(LossdException error) {
    completing(() -> future.completeExceptionally(error));
  }

  private static void completing(Runnable action) {
    boolean before = COMPLETING.get();
    COMPLETING.set(true);
    try {
      action.run();
    } finally {
      COMPLETING.set(before);
    }
  }
}

package dev.lossd.client;

import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** What became of one problem of many. */
public final class Outcome {
  private final LossResult result;
  private final LossdException error;

  private Outcome(LossResult result, LossdException error) {
    this.result = result;
    this.error = error;
  }

  /** The outcome of a future that is done. */
  static Outcome of(CompletableFuture<LossResult> future) {
    try {
      return new Outcome(future.join(), null);
    } catch (CompletionException failure) {
      if (failure.getCause() instanceof LossdException) {
        return new Outcome(null, (LossdException) failure.getCause());
      }
      throw failure;
    }
  }

  /**
   * Returns the result.
   *
   * @return the result
   * @throws LossdException there is none: the problem's error
   */
  public LossResult getResult() {
    if (error != null) {
      throw error.again();
    }
    return result;
  }

  /**
   * Returns the error.
   *
   * @return empty where there is a result
   */
  public Optional<LossdException> getError() {
    return Optional.ofNullable(error);
  }
}

package dev.lossd.client;

import dev.lossd.v1.CombineRequest;
import dev.lossd.v1.CombineResponse;
import dev.lossd.v1.GetServerInfoResponse;
import dev.lossd.v1.LossServiceGrpc;
import dev.lossd.v1.Summary;
import io.grpc.Channel;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;

/**
 * A client of a lossd server. Safe for use from several threads.
 *
 * <p>Blocking calls throw a {@link LossdException} where they fail, and end with code CANCELLED
 * when their thread is interrupted. Futures of the asynchronous ones complete with a {@link
 * LossdException}; {@code cancel(true)} on such a future ends the call. A gRPC {@code Context} in
 * force, its deadline and its cancellation, holds for either. Functions that depend on a future run
 * in threads of gRPC, which they must not block.
 *
 * <p>A call that cannot reach the server, or that the server asks to make later, is made again:
 * four attempts at most, within the timeout.
 */
public final class LossdClient implements AutoCloseable {
  private final Evaluator evaluator;

  LossdClient(Evaluator evaluator) {
    this.evaluator = evaluator;
  }

  /**
   * Begins a client with a connection of its own.
   *
   * @param address "HOST:PORT", or "unix:PATH" on Linux
   * @return a builder
   */
  public static LossdClientBuilder builder(String address) {
    return new LossdClientBuilder(address);
  }

  /**
   * Begins a client over a channel, which it does not close.
   *
   * @param channel the channel
   * @return a builder
   */
  public static LossdClientBuilder newBuilder(ManagedChannel channel) {
    return new LossdClientBuilder(channel);
  }

  /**
   * Returns the version of this library.
   *
   * @return as "major.minor.patch"
   */
  public static String version() {
    Properties properties = new Properties();
    try (InputStream file = LossdClient.class.getResourceAsStream("version.properties")) {
      properties.load(file);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    return properties.getProperty("version");
  }

  /**
   * Evaluates torch.nn.functional.cross_entropy.
   *
   * @param request the problem
   * @return the loss and the other results that it asks for
   * @throws LossdException the problem is not valid, or the call failed
   */
  public LossResult crossEntropy(CrossEntropyRequest request) {
    return Waiting.on(crossEntropyAsync(request));
  }

  /** As {@link #crossEntropy}, without waiting for the result. */
  public CompletableFuture<LossResult> crossEntropyAsync(CrossEntropyRequest request) {
    return evaluator.evaluate(request);
  }

  /**
   * Evaluates torch.nn.functional.nll_loss.
   *
   * @param request the problem
   * @return the loss and the other results that it asks for
   * @throws LossdException the problem is not valid, or the call failed
   */
  public LossResult nllLoss(NllLossRequest request) {
    return Waiting.on(nllLossAsync(request));
  }

  /** As {@link #nllLoss}, without waiting for the result. */
  public CompletableFuture<LossResult> nllLossAsync(NllLossRequest request) {
    return evaluator.evaluate(request);
  }

  /**
   * Evaluates many small problems, pipelined over one stream. Each has an outcome of its own.
   *
   * @param requests the problems
   * @return their outcomes, in the order of the problems
   * @throws LossdException the thread was interrupted, or this client was closed
   */
  public List<Outcome> evaluateMany(Iterable<? extends LossRequest> requests) {
    List<CompletableFuture<LossResult>> futures = new ArrayList<>();
    try (ManyStream many = openMany()) {
      for (LossRequest request : requests) {
        futures.add(many.submit(request));
      }
    }
    if (Thread.currentThread().isInterrupted()) {
      throw LossdException.cancelled("the thread was interrupted", null);
    }
    List<Outcome> outcomes = new ArrayList<>(futures.size());
    futures.forEach(future -> outcomes.add(Outcome.of(future)));
    return outcomes;
  }

  /**
   * Opens a stream for many small problems that come one by one, from several threads if need be.
   *
   * @return the stream, to be closed
   */
  public ManyStream openMany() {
    return new ManyStream(evaluator);
  }

  /**
   * Merges the summaries of shards of one batch, exactly.
   *
   * @param summaries those of results, at least one, in any order
   * @return the merged summary and the loss over all shards
   * @throws LossdException they are of problems that cannot be merged, or the call failed
   */
  public CombinedResult combine(Iterable<Summary> summaries) {
    return Waiting.on(combineAsync(summaries));
  }

  /** As {@link #combine}, without waiting for the result. */
  public CompletableFuture<CombinedResult> combineAsync(Iterable<Summary> summaries) {
    CombineRequest request = CombineRequest.newBuilder().addAllSummaries(summaries).build();
    Connection connection = evaluator.connection();
    Deadline deadline = evaluator.deadline(null);
    CallFuture<CombinedResult> future = new CallFuture<>();
    CompletableFuture<CombineResponse> call =
        Retrying.start(
            connection,
            deadline,
            () -> connection.unary(LossServiceGrpc.getCombineMethod(), request, deadline));
    future.follow(call.thenApply(Replies::combined));
    future.onCancel(() -> call.cancel(true));
    return future;
  }

  /**
   * Asks the server for its version, instruction set and limits.
   *
   * @return the answer
   * @throws LossdException the call failed
   */
  public GetServerInfoResponse getServerInfo() {
    return Waiting.on(getServerInfoAsync());
  }

  /** As {@link #getServerInfo}, without waiting for the result. */
  public CompletableFuture<GetServerInfoResponse> getServerInfoAsync() {
    Deadline deadline = evaluator.deadline(null);
    return Retrying.start(evaluator.connection(), deadline, () -> evaluator.info(deadline));
  }

  /**
   * Returns the channel, with the token where there is one, for stubs of {@link LossServiceGrpc}.
   *
   * @return the channel
   */
  public Channel getChannel() {
    return evaluator.connection().channel();
  }

  /**
   * Ends the connection. Calls in flight end with code CANCELLED, later ones with
   * FAILED_PRECONDITION. A channel that was given is not closed, and its calls go on.
   */
  @Override
  public void close() {
    evaluator.connection().close();
  }
}

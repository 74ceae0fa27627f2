package dev.lossd.client;

import dev.lossd.v1.EvaluateStreamRequest;
import dev.lossd.v1.EvaluateStreamResponse;
import dev.lossd.v1.LossServiceGrpc;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;

/**
 * One EvaluateStream. Messages are made and sent while the transport has room for more, and replies
 * are taken as they come. gRPC calls every method here one after the other.
 */
final class StreamCall
    implements ClientResponseObserver<EvaluateStreamRequest, EvaluateStreamResponse> {
  private final LossRequest request;
  private final Connection connection;
  private final StreamMessages messages;
  private final Expected expected;
  private final StreamOutputs outputs;
  private final CallFuture<LossResult> future = new CallFuture<>();
  private ClientCallStreamObserver<EvaluateStreamRequest> requests;

  private StreamCall(LossRequest request, long chunkBytes, Connection connection) {
    this.request = request;
    this.connection = connection;
    messages = new StreamMessages(request, chunkBytes);
    expected = new Expected(request);
    outputs = new StreamOutputs(expected);
  }

  /** Evaluates a problem. */
  static CallFuture<LossResult> start(
      LossRequest request, long chunkBytes, Connection connection, Deadline deadline) {
    StreamCall stream = new StreamCall(request, chunkBytes, connection);
    ClientCall<EvaluateStreamRequest, EvaluateStreamResponse> call =
        connection.newCall(LossServiceGrpc.getEvaluateStreamMethod(), deadline);
    stream.future.onCancel(() -> call.cancel("cancelled by the caller", null));
    ClientCalls.asyncBidiStreamingCall(call, stream);
    return stream.future;
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<EvaluateStreamRequest> requests) {
    this.requests = requests;
    requests.setOnReadyHandler(this::send);
  }

  @Override
  public void onNext(EvaluateStreamResponse reply) {
    if (future.isDone()) {
      return;
    }
    try {
      outputs.take(reply);
      report();
    } catch (RuntimeException | OutOfMemoryError error) {
      stop(error);
    }
  }

  @Override
  public void onError(Throwable error) {
    future.completeExceptionally(Errors.from(error, connection));
  }

  @Override
  public void onCompleted() {
    try {
      future.complete(outputs.result());
    } catch (LossdException error) {
      future.completeExceptionally(error);
    }
  }

  /** Sends as long as nothing waits to be sent; gRPC calls again when that is so. */
  private void send() {
    try {
      while (!future.isDone() && messages.hasNext() && requests.isReady()) {
        requests.onNext(messages.next());
        if (!messages.hasNext()) {
          requests.onCompleted();
        }
        report();
      }
    } catch (RuntimeException error) {
      stop(error);
    }
  }

  private void report() {
    if (request.progress != null) {
      request.progress.accept(
          new Progress(
              messages.sentBytes(),
              request.byteSize(),
              outputs.receivedBytes(),
              expected.byteSize()));
    }
  }

  /** Ends the call because of something on this side: an odd answer, or the caller's function. */
  private void stop(Throwable error) {
    LossdException failure =
        error instanceof LossdException
            ? (LossdException) error
            : LossdException.cancelled("the call was ended by " + error, error);
    future.completeExceptionally(failure);
    requests.cancel("ended by the client", error);
  }
}

package dev.lossd.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;

/** A channel, and who may use it. */
final class Connection {
  private final ManagedChannel managed;
  private final Channel channel;
  private final boolean owned;
  private final String address;
  private volatile boolean closed;

  /**
   * A connection.
   *
   * @param managed the channel itself
   * @param channel the same, with what is added to every call
   * @param owned whether the channel ends with this
   * @param address what errors call it
   */
  Connection(ManagedChannel managed, Channel channel, boolean owned, String address) {
    this.managed = managed;
    this.channel = channel;
    this.owned = owned;
    this.address = address;
  }

  Channel channel() {
    return channel;
  }

  String address() {
    return address;
  }

  /** Whether calls that fail now were ended by {@link #close}. */
  boolean endedCalls() {
    return closed && owned;
  }

  /** Lets the next call connect at once, where gRPC would wait after a failure. */
  void reconnect() {
    managed.resetConnectBackoff();
  }

  /**
   * A call that has yet to be started.
   *
   * @throws LossdException this is closed
   */
  <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, Deadline deadline) {
    if (closed) {
      throw LossdException.closed("the client was closed; make another one");
    }
    // Answers may be greater than the 4 MiB that gRPC takes by default.
    CallOptions options =
        CallOptions.DEFAULT.withDeadline(deadline).withMaxInboundMessageSize(Integer.MAX_VALUE);
    return channel.newCall(method, options);
  }

  /** Makes a call of one message each way. */
  <Q, R> CallFuture<R> unary(MethodDescriptor<Q, R> method, Q request, Deadline deadline) {
    ClientCall<Q, R> call = newCall(method, deadline);
    CallFuture<R> future = new CallFuture<>();
    future.onCancel(() -> call.cancel("cancelled by the caller", null));
    ClientCalls.asyncUnaryCall(
        call,
        request,
        new StreamObserver<R>() {
          private R response;

          @Override
          public void onNext(R message) {
            response = message;
          }

          @Override
          public void onError(Throwable error) {
            future.completeExceptionally(Errors.from(error, Connection.this));
          }

          @Override
          public void onCompleted() {
            future.complete(response);
          }
        });
    return future;
  }

  /** Refuses further calls and ends those in flight; a channel that is not owned goes on. */
  void close() {
    closed = true;
    if (owned) {
      managed.shutdownNow();
    }
  }
}

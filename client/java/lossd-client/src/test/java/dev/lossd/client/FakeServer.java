package dev.lossd.client;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.Code;
import com.google.rpc.RetryInfo;
import io.grpc.BindableService;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;

/** A server of grpc-java's own that answers as a test says. */
final class FakeServer implements AutoCloseable {
  private final Server server;
  final String address;

  private FakeServer(Server server) {
    this.server = server;
    address = "127.0.0.1:" + server.getPort();
  }

  static FakeServer start(BindableService service) throws IOException {
    return start(service, InsecureServerCredentials.create());
  }

  static FakeServer start(
      BindableService service, ServerCredentials credentials, ServerInterceptor... interceptors)
      throws IOException {
    return new FakeServer(
        Grpc.newServerBuilderForPort(0, credentials)
            .addService(ServerInterceptors.intercept(service, interceptors))
            .build()
            .start());
  }

  LossdClient client() {
    return LossdClient.builder(address).timeout(java.time.Duration.ofMinutes(1)).build();
  }

  /** The error of a server that is busy for this long. */
  static StatusRuntimeException busy(int millis) {
    Duration delay =
        Duration.newBuilder().setSeconds(millis / 1000).setNanos(millis % 1000 * 1_000_000).build();
    return StatusProto.toStatusRuntimeException(
        com.google.rpc.Status.newBuilder()
            .setCode(Code.RESOURCE_EXHAUSTED_VALUE)
            .setMessage("busy")
            .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()))
            .build());
  }

  static StatusRuntimeException away() {
    return Status.UNAVAILABLE.withDescription("away").asRuntimeException();
  }

  @Override
  public void close() {
    server.shutdownNow();
    try {
      server.awaitTermination();
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }
}

package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.sun.net.httpserver.HttpServer;
import dev.lossd.v1.EvaluateStreamRequest;
import dev.lossd.v1.EvaluateStreamResponse;
import dev.lossd.v1.LossServiceGrpc;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Servers that are not there, not lossd, silent, or gone in the middle. */
class TransportErrorsTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

  /** Each kind of call, to be made. */
  private static List<Executable> calls(LossdClient client) {
    List<Executable> calls = new ArrayList<>();
    for (Transport transport : Transport.values()) {
      calls.add(() -> client.crossEntropy(Problems.small().transport(transport).build()));
    }
    calls.add(() -> client.crossEntropy(Problems.random(300, 300).build()));
    calls.add(() -> client.evaluateMany(List.of(Problems.small().build())).get(0).getResult());
    calls.add(() -> client.combine(List.of(CannedService.summary().build())));
    calls.add(client::getServerInfo);
    return calls;
  }

  private static void everyCallFails(String address, String words, Status.Code... codes) {
    try (LossdClient client = LossdClient.builder(address).timeout(Duration.ofMinutes(1)).build()) {
      for (Executable call : calls(client)) {
        LossdException error = failure(words, call);
        assertTrue(List.of(codes).contains(error.getCode()), error.getMessage());
        assertTrue(error.getMessage().contains(address), error.getMessage());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"127.0.0.1:1", "unix:/nowhere/lossd.sock"})
  void nobodyListens(String address) {
    everyCallFails(address, address, Status.Code.UNAVAILABLE);
  }

  @Test
  void anotherService() throws Exception {
    try (FakeServer server = FakeServer.start(new LossServiceGrpc.LossServiceImplBase() {})) {
      everyCallFails(server.address, "is it a lossd server", Status.Code.UNIMPLEMENTED);
    }
  }

  @Test
  void aServerOfWebPages() throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(LOOPBACK, 0), 0);
    server.start();
    try {
      String address = "127.0.0.1:" + server.getAddress().getPort();
      // Which of them depends on whether the answer or its end is seen first.
      everyCallFails(address, address, Status.Code.UNAVAILABLE, Status.Code.INTERNAL);
    } finally {
      server.stop(0);
    }
  }

  @Test
  void aSilentServerEndsAtTheDeadline() throws Exception {
    try (ServerSocket silent = new ServerSocket(0, 50, LOOPBACK);
        LossdClient client =
            LossdClient.builder("127.0.0.1:" + silent.getLocalPort())
                .timeout(Duration.ofMillis(200))
                .build()) {
      for (Executable call : calls(client)) {
        assertTimeoutPreemptively(
            Duration.ofMinutes(1),
            () -> {
              LossdException error = failure("", call);
              assertEquals(Status.Code.DEADLINE_EXCEEDED, error.getCode());
            });
      }
    }
  }

  @Test
  void aServerThatIsGoneInTheMiddle() throws Exception {
    ServerProcess server = ServerProcess.start();
    try (LossdClient client = LossdClient.builder(server.tcp).build()) {
      CrossEntropyRequest request =
          Problems.random(4000, 1000)
              .gradInput(true)
              .chunkBytes(10_000)
              .onProgress(
                  progress -> {
                    if (progress.getSentBytes() > 1_000_000) {
                      server.kill();
                    }
                  })
              .build();
      LossdException error = failure(server.tcp, () -> client.crossEntropy(request));
      assertEquals(Status.Code.UNAVAILABLE, error.getCode());
    } finally {
      server.close();
    }
  }

  @Test
  void aServerThatNeverReadsHoldsItsClientBack() throws Exception {
    AtomicLong sent = new AtomicLong();
    CannedService deaf =
        new CannedService() {
          @Override
          public StreamObserver<EvaluateStreamRequest> evaluateStream(
              StreamObserver<EvaluateStreamResponse> answer) {
            ((ServerCallStreamObserver<EvaluateStreamResponse>) answer).disableAutoRequest();
            return new Ignoring<>();
          }
        };
    try (FakeServer server = FakeServer.start(deaf);
        LossdClient client = server.client()) {
      CrossEntropyRequest request =
          Problems.random(20_000, 1000)
              .transport(Transport.STREAM)
              .chunkBytes(50_000)
              .onProgress(progress -> sent.set(progress.getSentBytes()))
              .build();
      CompletableFuture<LossResult> future = client.crossEntropyAsync(request);
      long before = -1;
      while (sent.get() == 0 || sent.get() > before) {
        before = sent.get();
        Thread.sleep(500);
      }
      assertTrue(sent.get() < 8_000_000, "sent " + sent);
      future.cancel(true);
    }
  }

  @Test
  void detailsThatCannotBeReadAreLeftOut() throws Exception {
    Metadata trailers = new Metadata();
    trailers.put(
        Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER),
        ByteString.copyFromUtf8("no message").toByteArray());
    CannedService service =
        new CannedService()
            .failing(Status.INVALID_ARGUMENT.withDescription("odd").asRuntimeException(trailers));
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      LossdException error = failure("odd", () -> client.crossEntropy(Problems.small().build()));
      assertEquals(Status.Code.INVALID_ARGUMENT, error.getCode());
      assertEquals("", error.getField());
    }
  }

  @Test
  void argumentsOfTheClientAreNamed() {
    assertEquals("address", failure("", () -> LossdClient.builder(" ")).getField());
    assertEquals(
        "timeout", failure("", () -> LossdClient.builder("a:1").timeout(Duration.ZERO)).getField());
    assertEquals("chunkBytes", failure("", () -> Problems.small().chunkBytes(0)).getField());
    assertEquals("outputs.top_k", failure("", () -> Problems.small().topK(-1)).getField());
    assertInstanceOf(
        NullPointerException.class,
        assertThrows(RuntimeException.class, () -> CrossEntropyRequest.builder(null, null)));
  }
}

package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lossd.v1.EvaluateRequest;
import dev.lossd.v1.EvaluateResponse;
import dev.lossd.v1.EvaluateStreamRequest;
import dev.lossd.v1.EvaluateStreamResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** How calls end before their answer: deadlines, cancellation, interrupts, closed clients. */
class LifetimeTest {
  /** Takes calls and never answers. */
  private static final class Hanging extends CannedService {
    final CountDownLatch begun = new CountDownLatch(1);
    final CountDownLatch cancelled = new CountDownLatch(1);

    private void keep(StreamObserver<?> answer) {
      ((ServerCallStreamObserver<?>) answer).setOnCancelHandler(cancelled::countDown);
      begun.countDown();
    }

    @Override
    public void evaluate(EvaluateRequest request, StreamObserver<EvaluateResponse> answer) {
      keep(answer);
    }

    @Override
    public StreamObserver<EvaluateStreamRequest> evaluateStream(
        StreamObserver<EvaluateStreamResponse> answer) {
      keep(answer);
      return new Ignoring<>();
    }
  }

  private Hanging service;
  private FakeServer server;
  private LossdClient client;

  @BeforeEach
  void start() throws Exception {
    service = new Hanging();
    server = FakeServer.start(service);
    client = LossdClient.builder(server.address).build();
    // Connects, so that short times are those of calls.
    failure("", client::getServerInfo);
  }

  @AfterEach
  void stop() {
    client.close();
    server.close();
  }

  /** The server was told, unless the call ended before it got there. */
  private void sawTheEnd() throws InterruptedException {
    if (service.begun.getCount() == 0) {
      assertTrue(service.cancelled.await(60, TimeUnit.SECONDS));
    }
  }

  @ParameterizedTest
  @EnumSource
  void theTimeoutOfARequest(Transport transport) throws Exception {
    CrossEntropyRequest request =
        Problems.small().transport(transport).timeout(Duration.ofSeconds(1)).build();
    LossdException error = failure(server.address, () -> client.crossEntropy(request));
    assertEquals(Status.Code.DEADLINE_EXCEEDED, error.getCode());
    sawTheEnd();
  }

  @ParameterizedTest
  @EnumSource
  void aCancelledFutureEndsTheCall(Transport transport) throws Exception {
    CompletableFuture<LossResult> future =
        client.crossEntropyAsync(Problems.small().transport(transport).build());
    assertTrue(service.begun.await(60, TimeUnit.SECONDS));
    assertTrue(future.cancel(true));
    assertThrows(CancellationException.class, future::join);
    sawTheEnd();
  }

  @ParameterizedTest
  @EnumSource
  void anInterruptEndsTheCall(Transport transport) throws Exception {
    Thread caller = Thread.currentThread();
    CompletableFuture.runAsync(
        () -> {
          try {
            service.begun.await();
            caller.interrupt();
          } catch (InterruptedException error) {
            throw new AssertionError(error);
          }
        });
    CrossEntropyRequest request = Problems.small().transport(transport).build();
    LossdException error = failure("interrupted", () -> client.crossEntropy(request));
    assertTrue(Thread.interrupted());
    assertEquals(Status.Code.CANCELLED, error.getCode());
    sawTheEnd();
  }

  @Test
  void theDeadlineOfTheContextHolds() throws Exception {
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    try (Context.CancellableContext context =
        Context.current().withDeadlineAfter(1, TimeUnit.SECONDS, timer)) {
      context.run(
          () -> {
            LossdException error = failure("", () -> client.crossEntropy(Problems.small().build()));
            assertEquals(Status.Code.DEADLINE_EXCEEDED, error.getCode());
          });
    } finally {
      timer.shutdownNow();
    }
    sawTheEnd();
  }

  @Test
  void aClosedClientEndsItsCallsAndTakesNoMore() throws Exception {
    CompletableFuture<LossResult> future = client.crossEntropyAsync(Problems.small().build());
    assertTrue(service.begun.await(60, TimeUnit.SECONDS));
    client.close();
    CompletionException error = assertThrows(CompletionException.class, future::join);
    LossdException cause = (LossdException) error.getCause();
    assertEquals(Status.Code.CANCELLED, cause.getCode());
    LossdException late = failure("closed", () -> client.crossEntropy(Problems.small().build()));
    assertEquals(Status.Code.FAILED_PRECONDITION, late.getCode());
    failure("closed", client::getServerInfo);
    try (ManyStream many = client.openMany()) {
      failure("closed", () -> many.submit(Problems.small().build()));
    }
  }

  @Test
  void aChannelThatWasGivenIsNotClosed() throws Exception {
    ManagedChannel channel =
        Grpc.newChannelBuilder(server.address, InsecureChannelCredentials.create()).build();
    LossdClient given = LossdClient.newBuilder(channel).timeout(Duration.ofSeconds(20)).build();
    CompletableFuture<LossResult> future = given.crossEntropyAsync(Problems.small().build());
    assertTrue(service.begun.await(60, TimeUnit.SECONDS));
    given.close();
    assertThrows(TimeoutException.class, () -> future.get(200, TimeUnit.MILLISECONDS));
    assertEquals(false, channel.isShutdown());
    failure("closed", () -> given.crossEntropy(Problems.small().build()));
    failure("channel", () -> LossdClient.newBuilder(channel).tls().build());
    channel.shutdownNow();
  }
}

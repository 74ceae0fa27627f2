package dev.lossd.client;

import static dev.lossd.client.FakeServer.away;
import static dev.lossd.client.FakeServer.busy;
import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What is made again, how often, and when. */
class RetryTest {
  /** How often a call was made, and what came of it; null: a result. */
  private static LossdException evaluate(
      int expectedCalls, CrossEntropyRequest request, StatusRuntimeException... errors)
      throws Exception {
    CannedService service = new CannedService().failing(errors);
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      LossdException failure = null;
      try {
        client.crossEntropy(request);
      } catch (LossdException error) {
        failure = error;
      }
      assertEquals(expectedCalls, service.calls.get());
      return failure;
    }
  }

  @ParameterizedTest
  @EnumSource
  void whatCannotBeReachedIsTriedFourTimes(Transport transport) throws Exception {
    CrossEntropyRequest request = Problems.small().transport(transport).build();
    assertEquals(null, evaluate(4, request, away(), away(), away()));
    LossdException error = evaluate(4, request, away(), away(), away(), away());
    assertEquals(Status.Code.UNAVAILABLE, error.getCode());
    assertTrue(error.getMessage().contains("away"), error.getMessage());
  }

  @ParameterizedTest
  @EnumSource
  void aBusyServerIsAskedAgainWhenItSays(Transport transport) throws Exception {
    CrossEntropyRequest request = Problems.small().transport(transport).build();
    long begin = System.nanoTime();
    assertEquals(null, evaluate(2, request, busy(400)));
    assertTrue(System.nanoTime() - begin >= 400_000_000);
  }

  @Test
  void whatWaitingDoesNotHelpIsNotMadeAgain() throws Exception {
    CrossEntropyRequest request = Problems.small().build();
    StatusRuntimeException full = Status.RESOURCE_EXHAUSTED.asRuntimeException();
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, evaluate(1, request, full).getCode());
    StatusRuntimeException odd = Status.INTERNAL.asRuntimeException();
    assertEquals(Status.Code.INTERNAL, evaluate(1, request, odd).getCode());
  }

  @Test
  void noAttemptIsMadePastTheDeadline() throws Exception {
    CrossEntropyRequest request = Problems.small().timeout(Duration.ofSeconds(20)).build();
    long begin = System.nanoTime();
    LossdException error = evaluate(1, request, busy(21_000));
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.getCode());
    assertEquals(Duration.ofSeconds(21), error.getRetryAfter().orElseThrow());
    assertTrue(System.nanoTime() - begin < 20_000_000_000L);
  }

  @Test
  void streamsOfManyAreOpenedAgain() throws Exception {
    CannedService service = new CannedService().failing(away(), away());
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      List<CrossEntropyRequest> requests = Collections.nCopies(1000, Problems.small().build());
      for (Outcome outcome : client.evaluateMany(requests)) {
        assertEquals(2, outcome.getResult().getPositions());
      }
      assertEquals(3, service.calls.get());
    }
  }

  @Test
  void streamsOfManyAreOpenedFourTimes() throws Exception {
    CannedService service = new CannedService().failing(away(), away(), away(), away(), away());
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      Outcome outcome = client.evaluateMany(List.of(Problems.small().build())).get(0);
      assertEquals(Status.Code.UNAVAILABLE, outcome.getError().orElseThrow().getCode());
      assertEquals(4, service.calls.get());
    }
  }

  @Test
  void aBusyServerOfManyIsAskedAgainForThatProblem() throws Exception {
    AtomicInteger asked = new AtomicInteger();
    CannedService service =
        new CannedService() {
          @Override
          EvaluateManyResponse manyResponse(EvaluateManyRequest request) {
            asked.incrementAndGet();
            // Problem 1 is refused once, problem 2 always.
            if ((request.getId() == 1 && asked.get() <= 3) || request.getId() == 2) {
              return EvaluateManyResponse.newBuilder()
                  .setId(request.getId())
                  .setError(StatusProto.fromThrowable(busy(1)))
                  .build();
            }
            return super.manyResponse(request);
          }
        };
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      CrossEntropyRequest request = Problems.small().build();
      List<Outcome> outcomes = client.evaluateMany(List.of(request, request, request));
      assertEquals(2, outcomes.get(0).getResult().getPositions());
      assertEquals(2, outcomes.get(1).getResult().getPositions());
      LossdException error = failure("busy", outcomes.get(2)::getResult);
      assertEquals(Duration.ofMillis(1), error.getRetryAfter().orElseThrow());
      assertEquals(1 + 2 + 4, asked.get());
    }
  }

  @Test
  void aServerThatComesBackIsFoundAtOnce() throws Exception {
    ServerProcess first = ServerProcess.start();
    try (LossdClient client = LossdClient.builder(first.tcp).build()) {
      client.crossEntropy(Problems.small().build());
      first.kill();
      for (int i = 0; i < 5; i++) {
        failure(first.tcp, () -> client.crossEntropy(Problems.small().build()));
      }
      // gRPC itself would now wait for some 2 s before it connects again.
      try (ServerProcess second = ServerProcess.startAt(first.tcp)) {
        assertEquals(first.tcp, second.tcp);
        assertEquals(2, client.crossEntropy(Problems.small().build()).getPositions());
      }
    } finally {
      first.close();
    }
  }
}

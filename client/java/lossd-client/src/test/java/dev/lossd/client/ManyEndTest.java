package dev.lossd.client;

import static dev.lossd.client.ManyTest.numbered;
import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Many problems that get no answer: the window, deadlines, cancellation. */
class ManyEndTest {
  /** Never answers, and counts what it is asked. */
  private static final class Mute extends CannedService {
    final AtomicInteger asked = new AtomicInteger();

    @Override
    EvaluateManyResponse manyResponse(EvaluateManyRequest request) {
      asked.incrementAndGet();
      return null;
    }
  }

  @Test
  void theWindowHoldsSubmittersBack() throws Exception {
    Mute mute = new Mute();
    try (FakeServer fake = FakeServer.start(mute);
        LossdClient own = fake.client()) {
      ManyStream many = own.openMany();
      for (int i = 0; i < 512; i++) {
        many.submit(numbered(1));
      }
      CrossEntropyRequest hasty =
          CrossEntropyRequest.builder(
                  Tensor.of(new float[] {0, 1}, 1, 2), Tensor.of(new byte[] {0}))
              .timeout(Duration.ofMillis(200))
              .build();
      LossdException error = failure("earlier problems", () -> many.submit(hasty));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, error.getCode());
      many.cancel();
      failure("closed", () -> many.submit(numbered(1)));
      many.close();
      assertTrue(mute.asked.get() <= 512);
    }
  }

  @Test
  void aProblemHasADeadlineOfItsOwn() throws Exception {
    try (FakeServer fake = FakeServer.start(new Mute());
        LossdClient own =
            LossdClient.builder(fake.address).timeout(Duration.ofMillis(300)).build()) {
      Outcome outcome = own.evaluateMany(List.of(numbered(1))).get(0);
      assertEquals(Status.Code.DEADLINE_EXCEEDED, outcome.getError().orElseThrow().getCode());
    }
  }

  @Test
  void cancelEndsWhatHasNoAnswer() throws Exception {
    try (FakeServer fake = FakeServer.start(new Mute());
        LossdClient own = fake.client()) {
      ManyStream many = own.openMany();
      CompletableFuture<LossResult> future = many.submit(numbered(1));
      assertFalse(future.isDone());
      many.cancel();
      CompletionException error = assertThrows(CompletionException.class, future::join);
      assertEquals(Status.Code.CANCELLED, ((LossdException) error.getCause()).getCode());
      many.close();
    }
  }

  @Test
  void anInterruptEndsAllOfThem() throws Exception {
    try (FakeServer fake = FakeServer.start(new Mute());
        LossdClient own = fake.client()) {
      Thread.currentThread().interrupt();
      LossdException error =
          failure("interrupted", () -> own.evaluateMany(List.of(numbered(1), numbered(2))));
      assertEquals(Status.Code.CANCELLED, error.getCode());
      assertTrue(Thread.interrupted());
    }
  }

  @Test
  void anAnswerThatNobodyAskedForEndsTheStream() throws Exception {
    CannedService odd =
        new CannedService() {
          @Override
          EvaluateManyResponse manyResponse(EvaluateManyRequest request) {
            return EvaluateManyResponse.newBuilder().setId(-7).setResponse(response()).build();
          }
        };
    try (FakeServer fake = FakeServer.start(odd);
        LossdClient own = fake.client()) {
      Outcome outcome = own.evaluateMany(List.of(numbered(1))).get(0);
      failure("18446744073709551609", outcome::getResult);
    }
  }
}

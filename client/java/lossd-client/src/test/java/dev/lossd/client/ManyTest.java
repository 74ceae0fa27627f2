package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Many problems over one stream. */
class ManyTest {
  private static ServerProcess server;
  private static LossdClient client;

  @BeforeAll
  static void start() throws IOException {
    server = ServerProcess.start("--idle-stream", "0.5");
    client = LossdClient.builder(server.tcp).timeout(Duration.ofMinutes(2)).build();
  }

  @AfterAll
  static void stop() throws IOException {
    client.close();
    server.close();
  }

  /** Never answers, and counts what it is asked. */
  private static final class Mute extends CannedService {
    final AtomicInteger asked = new AtomicInteger();

    @Override
    EvaluateManyResponse manyResponse(EvaluateManyRequest request) {
      asked.incrementAndGet();
      return null;
    }
  }

  /** A problem whose loss tells its number. */
  private static CrossEntropyRequest numbered(int number) {
    return CrossEntropyRequest.builder(
            Tensor.of(new float[] {0, number}, 1, 2), Tensor.of(new byte[] {0}))
        .build();
  }

  private static void check(int number, LossResult result) {
    assertEquals(Math.log1p(Math.exp(number)), result.getLoss().item(), 1e-5 * (1 + number));
  }

  @Test
  void answersBelongToTheirProblems() {
    List<LossRequest> requests = new ArrayList<>();
    for (int i = 0; i < 3000; i++) {
      requests.add(numbered(i % 50));
    }
    List<Outcome> outcomes = client.evaluateMany(requests);
    for (int i = 0; i < 3000; i++) {
      check(i % 50, outcomes.get(i).getResult());
    }
    assertEquals(0, client.evaluateMany(List.of()).size());
  }

  @Test
  void severalThreadsShareAStream() throws Exception {
    ConcurrentLinkedQueue<Throwable> failures = new ConcurrentLinkedQueue<>();
    try (ManyStream many = client.openMany()) {
      List<Thread> threads = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        int number = t;
        threads.add(
            new Thread(
                () -> {
                  for (int i = 0; i < 500; i++) {
                    check(number, many.submit(numbered(number)).join());
                  }
                }));
        threads.get(t).setUncaughtExceptionHandler((thread, error) -> failures.add(error));
        threads.get(t).start();
      }
      for (Thread thread : threads) {
        thread.join();
      }
    }
    assertEquals(List.of(), List.copyOf(failures));
  }

  @Test
  void problemsThatFitNoMessageGoByThemselves() {
    try (ManyStream many = client.openMany()) {
      CompletableFuture<LossResult> large =
          many.submit(Problems.random(1500, 1000).gradInput(true).build());
      check(3, many.submit(numbered(3)).join());
      assertEquals(1500, large.join().getPositions());
    }
  }

  @Test
  void aStreamThatWasIdleIsOpenedAgain() throws Exception {
    try (ManyStream many = client.openMany()) {
      check(1, many.submit(numbered(1)).join());
      Thread.sleep(1500);
      check(2, many.submit(numbered(2)).join());
    }
  }

  @Test
  void aServerThatIsGoneIsReplacedInTheMiddle() throws Exception {
    ServerProcess first = ServerProcess.start();
    try (LossdClient own = LossdClient.builder(first.tcp).build();
        ManyStream many = own.openMany()) {
      check(1, many.submit(numbered(1)).join());
      first.kill();
      List<CompletableFuture<LossResult>> futures = new ArrayList<>();
      for (int i = 0; i < 100; i++) {
        futures.add(many.submit(numbered(i % 10)));
      }
      try (ServerProcess second = ServerProcess.startAt(first.tcp)) {
        assertEquals(first.tcp, second.tcp);
        for (int i = 0; i < 100; i++) {
          check(i % 10, futures.get(i).join());
        }
      }
    } finally {
      first.close();
    }
  }

  @Test
  void functionsOfFuturesMaySubmit() {
    try (ManyStream many = client.openMany()) {
      CompletableFuture<LossResult> chain = many.submit(numbered(0));
      for (int i = 0; i < 600; i++) {
        chain = chain.thenCompose(result -> many.submit(numbered(7)));
      }
      check(7, chain.join());
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

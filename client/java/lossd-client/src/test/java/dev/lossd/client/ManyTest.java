package dev.lossd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Many problems over one stream. */
class ManyTest {
  private static ServerProcess server;
  private static LossdClient client;

  @BeforeAll
  static void start() throws IOException {
    server = ServerProcess.start();
    client = LossdClient.builder(server.tcp).timeout(Duration.ofMinutes(2)).build();
  }

  @AfterAll
  static void stop() throws IOException {
    client.close();
    server.close();
  }

  /** A problem whose loss tells its number. */
  static CrossEntropyRequest numbered(int number) {
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
    try (ServerProcess impatient = ServerProcess.start("--idle-stream", "0.5");
        LossdClient own = LossdClient.builder(impatient.tcp).build();
        ManyStream many = own.openMany()) {
      check(1, many.submit(numbered(1)).join());
      Thread.sleep(1500);
      check(2, many.submit(numbered(2)).join());
    }
  }

  @Test
  void aStreamWhoseServerWasReplacedGoesOn() throws Exception {
    ServerProcess first = ServerProcess.start();
    try (LossdClient own = LossdClient.builder(first.tcp).build();
        ManyStream many = own.openMany()) {
      check(1, many.submit(numbered(1)).join());
      first.kill();
      try (ServerProcess second = ServerProcess.startAt(first.tcp)) {
        assertEquals(first.tcp, second.tcp);
        for (int i = 0; i < 10; i++) {
          check(i, many.submit(numbered(i)).join());
        }
      }
    } finally {
      first.close();
    }
  }

  @Test
  void functionsOfFuturesSubmitWithoutWaiting() {
    List<CompletableFuture<LossResult>> futures = new ArrayList<>();
    try (ManyStream many = client.openMany()) {
      many.submit(numbered(0))
          .thenRun(
              () -> {
                // More than the window: these are sent by the thread that would make room in it.
                for (int i = 0; i < 600; i++) {
                  futures.add(many.submit(numbered(7)));
                }
              })
          .join();
    }
    assertEquals(600, futures.size());
    futures.forEach(future -> check(7, future.join()));
  }
}

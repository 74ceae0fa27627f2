package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Streams of a real server: the same bits as one message, progress, large weights. */
class StreamTest {
  private static ServerProcess server;
  private static LossdClient client;

  @BeforeAll
  static void start() throws IOException {
    server = ServerProcess.start("--max-message-bytes", "65536");
    client = LossdClient.builder(server.tcp).timeout(Duration.ofMinutes(2)).build();
  }

  @AfterAll
  static void stop() throws IOException {
    client.close();
    server.close();
  }

  @Test
  void streamAndUnaryAgree() {
    CrossEntropyRequest.Builder problem =
        Problems.random(12, 1000).gradInput(true).logSumExp(true).topK(5);
    LossResult one = client.crossEntropy(problem.transport(Transport.UNARY).build());
    for (int chunk : new int[] {999, 4096, 1 << 20}) {
      LossResult other =
          client.crossEntropy(problem.transport(Transport.STREAM).chunkBytes(chunk).build());
      assertEquals(one.getLoss().asByteBuffer(), other.getLoss().asByteBuffer());
      assertEquals(bytes(one), bytes(other));
      assertEquals(one.getSummary(), other.getSummary());
      assertArrayEquals(
          one.getLogSumExp().orElseThrow().toFloatArray(),
          other.getLogSumExp().orElseThrow().toFloatArray());
    }
  }

  private static Object bytes(LossResult result) {
    return result.getGradInput().orElseThrow().asByteBuffer();
  }

  @Test
  void sizeAloneDecides() {
    // 4 MB at a server that takes messages of 64 KiB: only a stream of such chunks comes through.
    LossResult result = client.crossEntropy(Problems.random(1000, 1000).gradInput(true).build());
    assertEquals(1000, result.getPositions());
    double sum = 0;
    for (float value : result.getGradInput().orElseThrow().toFloatArray()) {
      sum += value;
    }
    assertEquals(0, sum, 1e-4);
  }

  @Test
  void aLargeWeightFollowsTheHeader() {
    int classes = 100_000;
    float[] weight = new float[classes];
    Arrays.fill(weight, 0.5f);
    CrossEntropyRequest.Builder problem = Problems.random(3, classes).gradInput(true);
    LossResult plain = client.crossEntropy(problem.build());
    LossResult weighted =
        client.crossEntropy(problem.weight(Tensor.of(weight)).gradWeight(true).build());
    // A weight that all classes have leaves the mean as it is.
    assertEquals(plain.getLoss().item(), weighted.getLoss().item());
    assertEquals(1.5, weighted.getNormalizer());
    assertEquals(classes, weighted.getGradWeight().orElseThrow().getElementCount());
  }

  @Test
  void progressGoesOnToTheEnd() {
    List<Progress> seen = new ArrayList<>();
    CrossEntropyRequest large =
        Problems.random(100, 1000).gradInput(true).onProgress(seen::add).build();
    client.crossEntropy(large);
    long sent = 0;
    long received = 0;
    for (Progress progress : seen) {
      assertTrue(progress.getSentBytes() >= sent && progress.getReceivedBytes() >= received);
      sent = progress.getSentBytes();
      received = progress.getReceivedBytes();
      assertEquals(400_000 + 400, progress.getBytesToSend());
      assertEquals(400_000 + 4, progress.getBytesToReceive());
    }
    assertEquals(400_400, sent);
    assertEquals(400_004, received);
    assertTrue(seen.size() > 10, "messages: " + seen.size());
  }

  @Test
  void aFailingProgressFunctionEndsTheCall() {
    RuntimeException own = new IllegalStateException("enough");
    CrossEntropyRequest request =
        Problems.random(1000, 1000)
            .onProgress(
                progress -> {
                  throw own;
                })
            .build();
    LossdException error = failure("enough", () -> client.crossEntropy(request));
    assertEquals(Status.Code.CANCELLED, error.getCode());
    assertSame(own, error.getCause());
    // The server serves on.
    assertEquals(2, client.crossEntropy(Problems.small().build()).getPositions());
  }

  @Test
  void shardsCombineToTheBitsOfOneCall() {
    CrossEntropyRequest whole = Problems.random(10, 100).build();
    Tensor logits = whole.input;
    List<dev.lossd.v1.Summary> parts = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      float[] half = Arrays.copyOfRange(logits.toFloatArray(), i * 500, i * 500 + 500);
      int[] labels = Arrays.copyOfRange(whole.target.toIntArray(), i * 5, i * 5 + 5);
      CrossEntropyRequest shard =
          CrossEntropyRequest.builder(Tensor.of(half, 5, 100), Tensor.of(labels)).build();
      parts.add(client.crossEntropy(shard).getSummary());
    }
    CombinedResult combined = client.combine(parts);
    LossResult one = client.crossEntropy(whole);
    assertEquals(one.getLoss().item(), combined.getLoss().orElseThrow().item());
    assertEquals(one.getLossSum(), combined.getLossSum());
    assertEquals(10, combined.getNormalizer());
    assertEquals(one.getSummary(), combined.getSummary());
  }

  @Test
  void theServerSaysWhatItIs() {
    assertEquals(LossdClient.version(), client.getServerInfo().getVersion());
    assertEquals(65536, client.getServerInfo().getLimits().getMaxMessageBytes());
  }
}

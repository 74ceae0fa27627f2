package dev.lossd.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.lossd.client.CrossEntropyRequest;
import dev.lossd.client.LossResult;
import dev.lossd.client.LossdClient;
import dev.lossd.client.LossdException;
import dev.lossd.client.Tensor;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Runs the code of the README against a real server. */
class TasksTest {
  private static final Tensor LOGITS = Tensor.of(new float[] {1, 2, 3, 3, 1, 0}, 2, 3);
  private static final Tensor LABELS = Tensor.of(new int[] {2, 0});

  private static Process server;
  private static String address;
  private static LossdClient client;

  @BeforeAll
  static void start() throws IOException {
    Path program = Path.of(System.getProperty("lossd.bin"), "lossd");
    server = new ProcessBuilder(program.toString(), "--listen", "127.0.0.1:0").start();
    Runtime.getRuntime().addShutdownHook(new Thread(server::destroyForcibly));
    BufferedReader log =
        new BufferedReader(new InputStreamReader(server.getErrorStream(), StandardCharsets.UTF_8));
    String line = log.readLine();
    address = line.replaceFirst(".*listen=([0-9.:]+).*", "$1");
    client = LossdClient.builder(address).build();
  }

  @AfterAll
  static void stop() {
    client.close();
    server.destroy();
    server.onExit().join();
  }

  @Test
  void theWorkedExample() {
    PrintStream before = System.out;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    try {
      WorkedExample.main(new String[] {address});
    } finally {
      System.setOut(before);
    }
    assertEquals("loss 1.4502885", printed.toString(StandardCharsets.UTF_8).strip());
  }

  @Test
  void gradientsOfAPositionSumToZero() {
    float[] gradient = Tasks.gradient(client, LOGITS, LABELS);
    assertEquals(6, gradient.length);
    assertEquals(0, gradient[0] + gradient[1] + gradient[2], 1e-6);
  }

  @Test
  void lossesOfLogProbabilities() {
    float[] losses = Tasks.nll(client, LOGITS, LABELS);
    assertEquals(-3, losses[0]);
    assertEquals(-3, losses[1]);
  }

  @Test
  void aLargeTensor() {
    int positions = 600;
    int classes = 1000;
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(4 * positions * classes).order(ByteOrder.LITTLE_ENDIAN);
    Tensor gradient = Tasks.large(client, bytes, Tensor.of(new int[positions]), positions, classes);
    assertEquals((0.001f - 1) / 600, gradient.asByteBuffer().getFloat(), 1e-9);
  }

  @Test
  void manySmallOnes() {
    CrossEntropyRequest good = CrossEntropyRequest.builder(LOGITS, LABELS).build();
    CrossEntropyRequest bad = CrossEntropyRequest.builder(LOGITS, LABELS).labelSmoothing(2).build();
    assertEquals(1, Tasks.many(client, List.of(good, bad, good)));
    double loss = client.crossEntropy(good).getLoss().item();
    assertEquals(loss, Tasks.oneByOne(client, good));
  }

  @Test
  void shards() {
    LossResult part = client.crossEntropy(CrossEntropyRequest.builder(LOGITS, LABELS).build());
    assertEquals(part.getLoss().item(), Tasks.shards(client, part, part));
  }

  @Test
  void anError() {
    assertEquals("INVALID_ARGUMENT LABEL_OUT_OF_RANGE target[1]", Tasks.error(client, LOGITS));
  }

  @Test
  void tlsReadsItsFiles() {
    // Whole calls over TLS are in TlsTest of the client.
    Path nowhere = Path.of("/nowhere");
    LossdException error =
        assertThrows(
            LossdException.class,
            () -> Tasks.secure("localhost:1", nowhere, nowhere, nowhere, "token"));
    assertEquals("rootCertificates", error.getField());
  }
}

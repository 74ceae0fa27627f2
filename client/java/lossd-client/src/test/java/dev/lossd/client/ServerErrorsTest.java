package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a real server refuses, and what the caller is told. */
class ServerErrorsTest {
  private static ServerProcess server;
  private static LossdClient client;

  @BeforeAll
  static void start() throws IOException {
    server = ServerProcess.start("--max-classes", "100000");
    client = LossdClient.builder(server.tcp).timeout(Duration.ofMinutes(1)).build();
  }

  @AfterAll
  static void stop() throws IOException {
    client.close();
    server.close();
  }

  private static LossdException refused(CrossEntropyRequest.Builder builder) {
    return failure("", () -> client.crossEntropy(builder.build()));
  }

  @ParameterizedTest
  @EnumSource
  void aLabelOutOfRangeIsNamedWhateverTheTransport(Transport transport) {
    Tensor logits = Tensor.of(new float[6], 2, 3);
    LossdException error =
        refused(
            CrossEntropyRequest.builder(logits, Tensor.of(new int[] {0, 7})).transport(transport));
    assertEquals(Status.Code.INVALID_ARGUMENT, error.getCode());
    assertEquals("target[1]", error.getField());
    assertEquals("LABEL_OUT_OF_RANGE", error.getReason());
    assertTrue(error.getRetryAfter().isEmpty());
    assertInstanceOf(StatusRuntimeException.class, error.getCause());
  }

  @ParameterizedTest
  @EnumSource
  void anOptionOutOfRangeIsNamedWhateverTheTransport(Transport transport) {
    LossdException error = refused(Problems.small().labelSmoothing(1.5).transport(transport));
    assertEquals("criterion.cross_entropy.label_smoothing", error.getField());
    assertEquals("LABEL_SMOOTHING_RANGE", error.getReason());
  }

  @ParameterizedTest
  @EnumSource
  void anAxisThatIsNotThereIsNamedWhateverTheTransport(Transport transport) {
    LossdException error =
        refused(Problems.small().classAxis(5).gradInput(true).transport(transport));
    assertEquals("criterion.cross_entropy.class_axis", error.getField());
    assertEquals("CLASS_AXIS_RANGE", error.getReason());
  }

  @Test
  void wrongTypesAndShapesAreNamed() {
    Tensor logits = Tensor.of(new float[6], 2, 3);
    assertEquals(
        "DTYPE_UNSUPPORTED",
        refused(CrossEntropyRequest.builder(Tensor.of(new int[6], 2, 3), Tensor.of(new int[2])))
            .getReason());
    assertEquals(
        "SHAPE_MISMATCH",
        refused(CrossEntropyRequest.builder(logits, Tensor.of(new int[3]))).getReason());
    assertEquals(
        "criterion.cross_entropy.weight.shape",
        refused(Problems.small().weight(Tensor.of(new float[2]))).getField());
    assertEquals(
        "RANK_MISMATCH",
        refused(CrossEntropyRequest.builder(Tensor.of(new float[1]).reshape(), logits))
            .getReason());
  }

  @ParameterizedTest
  @EnumSource
  void classesOfNoSizeAreRefused(Transport transport) {
    LossdException error =
        refused(
            CrossEntropyRequest.builder(Tensor.of(new float[0], 1L << 40, 0), Tensor.of(new int[0]))
                .reduction(Reduction.NONE)
                .transport(transport));
    assertEquals("CLASSES_EMPTY", error.getReason());
  }

  @ParameterizedTest
  @EnumSource
  void anEmptyBatchHasTheMeanThatIsAskedFor(Transport transport) {
    CrossEntropyRequest.Builder empty =
        CrossEntropyRequest.builder(Tensor.of(new float[0], 0, 3), Tensor.of(new int[0]))
            .gradInput(true)
            .transport(transport);
    LossResult result = client.crossEntropy(empty.build());
    assertEquals(Double.NaN, result.getLoss().item());
    assertEquals(0, result.getGradInput().orElseThrow().toFloatArray().length);
    assertEquals(0, client.crossEntropy(empty.emptyMean(EmptyMean.ZERO).build()).getLoss().item());
  }

  @Test
  void aLimitIsNamed() {
    LossdException error = refused(Problems.random(1, 100_001));
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.getCode());
    assertEquals("LIMIT_EXCEEDED", error.getReason());
    assertTrue(error.getRetryAfter().isEmpty());
  }

  @Test
  void aMessageThatIsTooLargeSaysHowItGoes() {
    LossdException error = refused(Problems.random(20, 65536).transport(Transport.UNARY));
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.getCode());
    assertTrue(error.getMessage().contains("Transport.STREAM"), error.getMessage());
  }

  @Test
  void problemsOfManyFailByThemselves() {
    List<Outcome> outcomes =
        client.evaluateMany(
            List.of(
                Problems.small().build(),
                Problems.small().labelSmoothing(-1).build(),
                Problems.small().build()));
    assertEquals(2, outcomes.get(0).getResult().getPositions());
    assertEquals(2, outcomes.get(2).getResult().getPositions());
    LossdException error = outcomes.get(1).getError().orElseThrow();
    assertEquals("criterion.cross_entropy.label_smoothing", error.getField());
    assertEquals("LABEL_SMOOTHING_RANGE", failure("", outcomes.get(1)::getResult).getReason());
  }

  @Test
  void futuresFailInTheSameWay() {
    CrossEntropyRequest request = Problems.small().labelSmoothing(2).build();
    try {
      client.crossEntropyAsync(request).join();
    } catch (CompletionException error) {
      assertInstanceOf(LossdException.class, error.getCause());
      return;
    }
    throw new AssertionError("no error");
  }

  @Test
  void summariesThatDifferAreRefused() {
    LossResult one = client.crossEntropy(Problems.small().build());
    LossResult other = client.crossEntropy(Problems.small().labelSmoothing(0.1).build());
    LossdException error =
        failure("", () -> client.combine(List.of(one.getSummary(), other.getSummary())));
    assertEquals("SUMMARY_MISMATCH", error.getReason());
    assertEquals("FIELD_MISSING", failure("", () -> client.combine(List.of())).getReason());
  }
}

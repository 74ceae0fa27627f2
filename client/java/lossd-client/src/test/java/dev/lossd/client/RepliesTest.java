package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.lossd.v1.CombineResponse;
import dev.lossd.v1.DataType;
import dev.lossd.v1.EvaluateResponse;
import dev.lossd.v1.EvaluateStreamRequest;
import dev.lossd.v1.EvaluateStreamResponse;
import dev.lossd.v1.FloatValues;
import dev.lossd.v1.Tensor;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Answers that do not fit the question are refused, and end the call. */
class RepliesTest {
  private static ByteString zeros(int size) {
    return ByteString.copyFrom(new byte[size]);
  }

  private static void responseFails(String words, Consumer<EvaluateResponse.Builder> change)
      throws Exception {
    EvaluateResponse.Builder response =
        new CannedService()
            .response().toBuilder()
                .setGradInput(CannedService.scalar().addShape(2).addShape(3).setRaw(zeros(24)));
    change.accept(response);
    CannedService service =
        new CannedService() {
          @Override
          EvaluateResponse response() {
            return response.build();
          }
        };
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      CrossEntropyRequest request = Problems.small().gradInput(true).build();
      LossdException error = failure(words, () -> client.crossEntropy(request));
      assertEquals(Status.Code.INTERNAL, error.getCode());
      Outcome outcome = client.evaluateMany(List.of(request)).get(0);
      failure(words, outcome::getResult);
      assertEquals(2, service.calls.get());
    }
  }

  @Test
  void responsesAreMeasured() throws Exception {
    responseFails("loss is missing", response -> response.clearLoss());
    responseFails("grad_input is missing", response -> response.clearGradInput());
    responseFails("summary is missing", response -> response.clearSummary());
    responseFails(
        "loss has 3 bytes, expected 4", response -> response.getLossBuilder().setRaw(zeros(3)));
    responseFails(
        "loss has 0 bytes",
        response -> response.getLossBuilder().setFloatValues(FloatValues.getDefaultInstance()));
    responseFails(
        "loss is float64[], expected float32[]",
        response ->
            response.getLossBuilder().setDtype(DataType.DATA_TYPE_FLOAT64).setRaw(zeros(8)));
    responseFails(
        "loss is of no known type", response -> response.getLossBuilder().setDtypeValue(99));
    responseFails("loss is float32[1]", response -> response.getLossBuilder().addShape(1));
    responseFails(
        "loss is float32[4611686018427387904",
        response -> response.getLossBuilder().addShape(1L << 62).addShape(1L << 62));
    responseFails(
        "summary.positions is 3, expected 2",
        response -> response.getSummaryBuilder().setPositions(3));
    responseFails(
        "summary.dtype is float64, expected float32",
        response -> response.getSummaryBuilder().setDtype(DataType.DATA_TYPE_FLOAT64));
  }

  private static void streamFails(String words, EvaluateStreamResponse.Builder... replies)
      throws Exception {
    CannedService service =
        new CannedService() {
          @Override
          List<EvaluateStreamResponse> replies() {
            return List.of(replies).stream()
                .map(EvaluateStreamResponse.Builder::build)
                .collect(java.util.stream.Collectors.toList());
          }
        };
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      CrossEntropyRequest request =
          Problems.small().gradInput(true).transport(Transport.STREAM).build();
      LossdException error = failure(words, () -> client.crossEntropy(request));
      assertEquals(Status.Code.INTERNAL, error.getCode());
      assertEquals(1, service.calls.get());
    }
  }

  private static EvaluateStreamResponse.Builder reply() {
    return EvaluateStreamResponse.newBuilder();
  }

  @Test
  void streamsAreMeasured() throws Exception {
    streamFails("loss is cut short: 0 bytes, expected 4");
    streamFails("summary is missing", reply().setLoss(zeros(4)).setGradInput(zeros(24)));
    streamFails(
        "grad_input is cut short: 20 bytes, expected 24",
        reply().setGradInput(zeros(20)),
        reply().setLoss(zeros(4)).setSummary(CannedService.summary()));
    streamFails(
        "grad_input has at least 25 bytes, expected 24",
        reply().setGradInput(zeros(20)),
        reply().setGradInput(zeros(5)));
    streamFails("log_sum_exp has at least 4 bytes, expected 0", reply().setLogSumExp(zeros(4)));
    streamFails(
        "something follows the summary",
        reply().setSummary(CannedService.summary()),
        reply().setLoss(zeros(4)));
    streamFails(
        "summary.positions is 1",
        reply()
            .setLoss(zeros(4))
            .setGradInput(zeros(24))
            .setSummary(CannedService.summary().setPositions(1)));
  }

  @Test
  void anAnswerThatDoesNotFitEndsTheCall() throws Exception {
    CountDownLatch ended = new CountDownLatch(1);
    CannedService endless =
        new CannedService() {
          @Override
          public StreamObserver<EvaluateStreamRequest> evaluateStream(
              StreamObserver<EvaluateStreamResponse> answer) {
            ((ServerCallStreamObserver<EvaluateStreamResponse>) answer)
                .setOnCancelHandler(ended::countDown);
            answer.onNext(reply().setLoss(zeros(5)).build());
            return new Ignoring<>();
          }
        };
    try (FakeServer server = FakeServer.start(endless);
        LossdClient client = server.client()) {
      CrossEntropyRequest request = Problems.small().transport(Transport.STREAM).build();
      failure("loss has at least 5 bytes", () -> client.crossEntropy(request));
      assertTrue(ended.await(10, TimeUnit.SECONDS));
    }
  }

  private static void combineFails(String words, CombineResponse.Builder response)
      throws Exception {
    CannedService service =
        new CannedService() {
          @Override
          CombineResponse combined() {
            return response.build();
          }
        };
    try (FakeServer server = FakeServer.start(service);
        LossdClient client = server.client()) {
      failure(words, () -> client.combine(List.of(CannedService.summary().build())));
    }
  }

  @Test
  void answersOfCombineAreMeasured() throws Exception {
    Tensor two =
        Tensor.newBuilder()
            .setDtype(DataType.DATA_TYPE_FLOAT32)
            .setFloatValues(FloatValues.newBuilder().addValues(1).addValues(2))
            .build();
    combineFails("summary is missing", CombineResponse.newBuilder());
    combineFails(
        "loss is missing", CombineResponse.newBuilder().setSummary(CannedService.summary()));
    combineFails(
        "loss has 2 values",
        CombineResponse.newBuilder().setSummary(CannedService.summary()).setLoss(two));
    combineFails(
        "loss has 0 values",
        CombineResponse.newBuilder()
            .setSummary(CannedService.summary())
            .setLoss(CannedService.scalar()));
  }
}

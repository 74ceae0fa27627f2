package dev.lossd.client;

import com.google.protobuf.ByteString;
import dev.lossd.v1.CombineRequest;
import dev.lossd.v1.CombineResponse;
import dev.lossd.v1.DataType;
import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;
import dev.lossd.v1.EvaluateRequest;
import dev.lossd.v1.EvaluateResponse;
import dev.lossd.v1.EvaluateStreamRequest;
import dev.lossd.v1.EvaluateStreamResponse;
import dev.lossd.v1.LossServiceGrpc;
import dev.lossd.v1.Summary;
import dev.lossd.v1.Tensor;
import io.grpc.stub.StreamObserver;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/** Answers every call as the answer to {@link Problems#small()}, after some errors if wanted. */
class CannedService extends LossServiceGrpc.LossServiceImplBase {
  final AtomicInteger calls = new AtomicInteger();
  private final Deque<RuntimeException> errors = new ArrayDeque<>();

  /** These errors come first, one a call. */
  CannedService failing(RuntimeException... first) {
    errors.addAll(List.of(first));
    return this;
  }

  static Summary.Builder summary() {
    return Summary.newBuilder().setDtype(DataType.DATA_TYPE_FLOAT32).setPositions(2).setClasses(3);
  }

  static Tensor.Builder scalar() {
    return Tensor.newBuilder()
        .setDtype(DataType.DATA_TYPE_FLOAT32)
        .setRaw(ByteString.copyFrom(new byte[4]));
  }

  EvaluateResponse response() {
    return EvaluateResponse.newBuilder().setLoss(scalar()).setSummary(summary()).build();
  }

  List<EvaluateStreamResponse> replies() {
    return List.of(
        EvaluateStreamResponse.newBuilder()
            .setLoss(ByteString.copyFrom(new byte[4]))
            .setSummary(summary())
            .build());
  }

  CombineResponse combined() {
    return CombineResponse.getDefaultInstance();
  }

  private synchronized RuntimeException nextError() {
    calls.incrementAndGet();
    return errors.poll();
  }

  @Override
  public void evaluate(EvaluateRequest request, StreamObserver<EvaluateResponse> answer) {
    one(answer, response());
  }

  @Override
  public void combine(CombineRequest request, StreamObserver<CombineResponse> answer) {
    one(answer, combined());
  }

  private <T> void one(StreamObserver<T> answer, T response) {
    RuntimeException error = nextError();
    if (error != null) {
      answer.onError(error);
      return;
    }
    answer.onNext(response);
    answer.onCompleted();
  }

  @Override
  public StreamObserver<EvaluateStreamRequest> evaluateStream(
      StreamObserver<EvaluateStreamResponse> answer) {
    RuntimeException error = nextError();
    if (error != null) {
      answer.onError(error);
      return new Ignoring<>();
    }
    return new Ignoring<EvaluateStreamRequest>() {
      @Override
      public void onCompleted() {
        replies().forEach(answer::onNext);
        answer.onCompleted();
      }
    };
  }

  /** The answer to a problem of EvaluateMany; null: none. */
  EvaluateManyResponse manyResponse(EvaluateManyRequest request) {
    return EvaluateManyResponse.newBuilder().setId(request.getId()).setResponse(response()).build();
  }

  @Override
  public StreamObserver<EvaluateManyRequest> evaluateMany(
      StreamObserver<EvaluateManyResponse> answer) {
    RuntimeException error = nextError();
    return new Ignoring<EvaluateManyRequest>() {
      private boolean ended;

      @Override
      public void onNext(EvaluateManyRequest request) {
        if (ended) {
          return;
        }
        if (error != null) {
          ended = true;
          answer.onError(error);
          return;
        }
        EvaluateManyResponse response = manyResponse(request);
        if (response != null) {
          answer.onNext(response);
        }
      }

      @Override
      public void onCompleted() {
        if (!ended) {
          answer.onCompleted();
        }
      }
    };
  }

  /** Does nothing with what comes. */
  static class Ignoring<T> implements StreamObserver<T> {
    @Override
    public void onNext(T message) {}

    @Override
    public void onError(Throwable error) {}

    @Override
    public void onCompleted() {}
  }
}

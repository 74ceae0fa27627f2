package dev.lossd.client;

import com.google.protobuf.ByteString;
import dev.lossd.v1.EvaluateResponse;
import dev.lossd.v1.EvaluateStreamResponse;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.Predicate;

/** The tensors that an answer may bring. */
enum Output {
  LOSS(EvaluateResponse::hasLoss, EvaluateResponse::getLoss, EvaluateStreamResponse::getLoss),
  LOG_SUM_EXP(
      EvaluateResponse::hasLogSumExp,
      EvaluateResponse::getLogSumExp,
      EvaluateStreamResponse::getLogSumExp),
  GRAD_WEIGHT(
      EvaluateResponse::hasGradWeight,
      EvaluateResponse::getGradWeight,
      EvaluateStreamResponse::getGradWeight),
  GRAD_TARGET(
      EvaluateResponse::hasGradTarget,
      EvaluateResponse::getGradTarget,
      EvaluateStreamResponse::getGradTarget),
  GRAD_INPUT(
      EvaluateResponse::hasGradInput,
      EvaluateResponse::getGradInput,
      EvaluateStreamResponse::getGradInput);

  private final Predicate<EvaluateResponse> present;
  private final Function<EvaluateResponse, dev.lossd.v1.Tensor> whole;
  private final Function<EvaluateStreamResponse, ByteString> piece;

  Output(
      Predicate<EvaluateResponse> present,
      Function<EvaluateResponse, dev.lossd.v1.Tensor> whole,
      Function<EvaluateStreamResponse, ByteString> piece) {
    this.present = present;
    this.whole = whole;
    this.piece = piece;
  }

  boolean isIn(EvaluateResponse response) {
    return present.test(response);
  }

  dev.lossd.v1.Tensor of(EvaluateResponse response) {
    return whole.apply(response);
  }

  ByteString of(EvaluateStreamResponse reply) {
    return piece.apply(reply);
  }

  /** The name of the field. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}

package dev.lossd.client;

import com.google.protobuf.ByteString;
import dev.lossd.v1.Criterion;
import dev.lossd.v1.EvaluateRequest;
import dev.lossd.v1.EvaluateStreamHeader;
import dev.lossd.v1.TensorSpec;

/** Problems as messages. */
final class Messages {
  // No server takes a message above this.
  private static final int LARGEST_LIMIT = 1 << 30;

  private Messages() {}

  /**
   * A problem as one message.
   *
   * @throws LossdException no message can hold it
   */
  static EvaluateRequest whole(LossRequest request) {
    if (request.byteSize() > LARGEST_LIMIT) {
      String words = request.byteSize() + " bytes with all that belongs to it, expected at most ";
      throw LossdException.exhausted(
          "input", words + LARGEST_LIMIT + " for one message; a stream takes any size");
    }
    EvaluateRequest.Builder message =
        EvaluateRequest.newBuilder()
            .setCriterion(criterion(request, request.weight != null))
            .setOutputs(request.outputs)
            .setTarget(tensor(request.target, true))
            .setInput(tensor(request.input, true));
    if (request.gradOutput != null) {
      message.setGradOutput(tensor(request.gradOutput, true));
    }
    return message.build();
  }

  /** The header of a stream; the weight's bytes follow it unless they are inside. */
  static EvaluateStreamHeader header(LossRequest request, boolean weightInside) {
    EvaluateStreamHeader.Builder header =
        EvaluateStreamHeader.newBuilder()
            .setCriterion(criterion(request, weightInside))
            .setOutputs(request.outputs)
            .setTarget(spec(request.target))
            .setInput(spec(request.input));
    if (request.gradOutput != null) {
      header.setGradOutput(spec(request.gradOutput));
    }
    return header.build();
  }

  private static Criterion criterion(LossRequest request, boolean weightInside) {
    Criterion.Builder criterion =
        Criterion.newBuilder()
            .setReduction(request.reduction.toProto())
            .setEmptyMean(request.emptyMean.toProto());
    if (request.normalizer != null) {
      criterion.setNormalizer(request.normalizer);
    }
    request.fill(criterion, request.weight == null ? null : tensor(request.weight, weightInside));
    return criterion.build();
  }

  private static dev.lossd.v1.Tensor tensor(Tensor tensor, boolean withData) {
    dev.lossd.v1.Tensor.Builder message =
        dev.lossd.v1.Tensor.newBuilder().setDtype(tensor.getDataType().toProto());
    for (long size : tensor.getShape()) {
      message.addShape(size);
    }
    if (withData) {
      ByteString bytes = tensor.data().slice(0, tensor.data().size());
      message.setRaw(bytes);
    }
    return message.build();
  }

  private static TensorSpec spec(Tensor tensor) {
    TensorSpec.Builder spec = TensorSpec.newBuilder().setDtype(tensor.getDataType().toProto());
    for (long size : tensor.getShape()) {
      spec.addShape(size);
    }
    return spec.build();
  }
}

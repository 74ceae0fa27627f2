package dev.lossd.client;

import dev.lossd.v1.CombineResponse;
import dev.lossd.v1.DataType;
import dev.lossd.v1.EvaluateResponse;
import dev.lossd.v1.Reduction;
import dev.lossd.v1.Summary;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/** Answers of one message, measured before they are believed. */
final class Replies {
  private Replies() {}

  /**
   * The result of a problem. Its tensors are over the bytes that gRPC received.
   *
   * @throws LossdException an output is missing, or of another type, shape or length
   */
  static LossResult result(EvaluateResponse response, Expected expected) {
    Map<Output, Tensor> tensors = new EnumMap<>(Output.class);
    expected.outputs.forEach(
        (output, spec) -> {
          if (!output.isIn(response)) {
            throw LossdException.unexpected(output + " is missing");
          }
          tensors.put(output, tensor(output, output.of(response), spec));
        });
    expected.check(response.hasSummary(), response.getSummary());
    return new LossResult(tensors, response.getSummary());
  }

  /**
   * The answer of Combine.
   *
   * @throws LossdException it has no summary, or a loss that is no number
   */
  static CombinedResult combined(CombineResponse response) {
    if (!response.hasSummary()) {
      throw LossdException.unexpected("summary is missing");
    }
    Summary summary = response.getSummary();
    if (!response.hasLoss()) {
      if (summary.getCriterion().getReduction() != Reduction.REDUCTION_NONE) {
        throw LossdException.unexpected("loss is missing");
      }
      return new CombinedResult(summary, null);
    }
    return new CombinedResult(summary, scalar(response.getLoss()));
  }

  private static Tensor scalar(dev.lossd.v1.Tensor loss) {
    boolean doubles = loss.getDtype() == DataType.DATA_TYPE_FLOAT64;
    int count =
        doubles ? loss.getDoubleValues().getValuesCount() : loss.getFloatValues().getValuesCount();
    if (count != 1) {
      throw LossdException.unexpected("loss has " + count + " values, expected 1");
    }
    Tensor value =
        doubles
            ? Tensor.of(new double[] {loss.getDoubleValues().getValues(0)})
            : Tensor.of(new float[] {loss.getFloatValues().getValues(0)});
    return value.reshape();
  }

  private static Tensor tensor(Output name, dev.lossd.v1.Tensor got, Expected.Spec spec) {
    dev.lossd.client.DataType type = dev.lossd.client.DataType.fromProto(got.getDtype());
    long[] shape = got.getShapeList().stream().mapToLong(Long::longValue).toArray();
    if (type != spec.type || !Arrays.equals(shape, spec.shape)) {
      String was = type == null ? "of no known type" : type.toString();
      throw LossdException.unexpected(
          name
              + " is "
              + was
              + Arrays.toString(shape)
              + ", expected "
              + spec.type
              + Arrays.toString(spec.shape));
    }
    if (got.getRaw().size() != spec.bytes) {
      throw LossdException.unexpected(
          name + " has " + got.getRaw().size() + " bytes, expected " + spec.bytes);
    }
    TensorData data = TensorData.of(List.of(got.getRaw().asReadOnlyByteBuffer()));
    return new Tensor(spec.type, spec.shape, data);
  }
}

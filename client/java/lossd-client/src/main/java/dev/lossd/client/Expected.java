package dev.lossd.client;

import dev.lossd.v1.Summary;
import java.util.EnumMap;
import java.util.Map;

/** What an answer to a problem has to be. Answers are measured by it before they are believed. */
final class Expected {
  /** Type and shape of a tensor to come. */
  static final class Spec {
    final DataType type;
    final long[] shape;
    final long bytes;

    Spec(DataType type, long... shape) {
      this.type = type;
      this.shape = shape;
      bytes = Shapes.elements(shape, type) * type.byteSize();
    }
  }

  final Map<Output, Spec> outputs = new EnumMap<>(Output.class);
  private final DataType logits;
  private final long positions;

  /** The answer to a problem. Of one that every server refuses, nothing is expected. */
  Expected(LossRequest request) {
    logits = request.input.getDataType();
    long[] shape = positionShape(request);
    if (shape == null) {
      positions = -1;
      return;
    }
    DataType loss = logits.ofLoss();
    positions = Shapes.elements(shape, loss);
    boolean reduced = request.reduction != Reduction.NONE;
    outputs.put(Output.LOSS, reduced ? new Spec(loss) : new Spec(loss, shape));
    if (request.outputs.getLogSumExp()) {
      outputs.put(Output.LOG_SUM_EXP, new Spec(loss, shape));
    }
    if (request.outputs.getGradInput()) {
      outputs.put(Output.GRAD_INPUT, like(request.input));
    }
    if (request.outputs.getGradTarget()) {
      outputs.put(Output.GRAD_TARGET, like(request.target));
    }
    if (request.outputs.getGradWeight() && request.weight != null) {
      outputs.put(Output.GRAD_WEIGHT, like(request.weight));
    }
  }

  /** Bytes of all outputs. */
  long byteSize() {
    return outputs.values().stream().mapToLong(spec -> spec.bytes).sum();
  }

  /**
   * Holds a summary to the problem.
   *
   * @throws LossdException it is missing, or of another problem
   */
  void check(boolean present, Summary summary) {
    if (!present) {
      throw LossdException.unexpected("summary is missing");
    }
    if (summary.getPositions() != positions) {
      String got = "summary.positions is " + Long.toUnsignedString(summary.getPositions());
      throw LossdException.unexpected(got + ", expected " + positions);
    }
    DataType type = DataType.fromProto(summary.getDtype());
    if (type != logits) {
      throw LossdException.unexpected("summary.dtype is " + type + ", expected " + logits);
    }
  }

  private static Spec like(Tensor tensor) {
    return new Spec(tensor.getDataType(), tensor.getShape());
  }

  /** The input's shape without its class axis; null where there is no such axis or no class. */
  private static long[] positionShape(LossRequest request) {
    long[] shape = request.input.getShape();
    int axis = request.classAxis == null ? Math.min(1, shape.length - 1) : request.classAxis;
    if (axis < 0) {
      axis += shape.length;
    }
    if (axis < 0 || axis >= shape.length || shape[axis] < 1) {
      return null;
    }
    return Shapes.without(shape, axis);
  }
}

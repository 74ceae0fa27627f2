package dev.lossd.client;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A line of tests/conformance/*.jsonl. */
final class Vector {
  private static final Path ROOT = Path.of(System.getProperty("lossd.root"));

  final String name;
  private final JsonObject json;

  private Vector(JsonObject json) {
    this.json = json;
    name = json.get("name").getAsString();
  }

  /** All of them, in the order of files and lines. */
  static List<Vector> all() throws IOException {
    List<Vector> vectors = new ArrayList<>();
    for (String file : List.of("nll_loss.jsonl", "vectors.jsonl")) {
      for (String line : Files.readAllLines(ROOT.resolve("tests/conformance").resolve(file))) {
        vectors.add(new Vector(JsonParser.parseString(line).getAsJsonObject()));
      }
    }
    return vectors;
  }

  /** The problem, with all gradients that the vector expects. */
  LossRequest request(Transport transport) {
    Tensor input = tensor(type(json), json.getAsJsonArray("input"), shape(json));
    JsonObject target = json.getAsJsonObject("target");
    Tensor labels = tensor(type(target), target.getAsJsonArray("values"), shape(target));
    if (isNll()) {
      return set(NllLossRequest.builder(input, labels), transport).build();
    }
    CrossEntropyRequest.Builder builder = CrossEntropyRequest.builder(input, labels);
    if (json.has("label_smoothing")) {
      builder.labelSmoothing(json.get("label_smoothing").getAsDouble());
    }
    return set(builder.gradTarget(expects("grad_target")), transport).build();
  }

  boolean isNll() {
    return json.has("criterion") && json.get("criterion").getAsString().equals("nll_loss");
  }

  boolean expects(String output) {
    return json.getAsJsonObject("expect").has(output);
  }

  double[] expected(String output) {
    JsonArray values = json.getAsJsonObject("expect").getAsJsonArray(output);
    double[] numbers = new double[values.size()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = number(values.get(i));
    }
    return numbers;
  }

  private <B extends LossRequest.Builder<B>> B set(B builder, Transport transport) {
    Reduction reduction =
        Reduction.valueOf(json.get("reduction").getAsString().toUpperCase(Locale.ROOT));
    builder
        .reduction(reduction)
        .gradInput(true)
        .gradWeight(expects("grad_weight"))
        .transport(transport)
        .chunkBytes(24);
    if (json.has("class_axis")) {
      builder.classAxis(json.get("class_axis").getAsInt());
    }
    if (json.has("ignore_index")) {
      builder.ignoreIndex(json.get("ignore_index").getAsLong());
    }
    if (json.has("weight")) {
      JsonObject weight = json.getAsJsonObject("weight");
      JsonArray values = weight.getAsJsonArray("values");
      builder.weight(tensor(type(weight), values, values.size()));
    }
    if (json.has("grad_output")) {
      JsonObject grad = json.getAsJsonObject("grad_output");
      long[] shape = reduction == Reduction.NONE ? positions() : new long[0];
      builder.gradOutput(tensor(type(grad), grad.getAsJsonArray("values"), shape));
    }
    return builder;
  }

  private long[] positions() {
    long[] shape = shape(json);
    int axis =
        json.has("class_axis") ? json.get("class_axis").getAsInt() : Math.min(1, shape.length - 1);
    return Shapes.without(shape, axis < 0 ? axis + shape.length : axis);
  }

  private static DataType type(JsonObject object) {
    return DataType.valueOf(object.get("dtype").getAsString().toUpperCase(Locale.ROOT));
  }

  private static long[] shape(JsonObject object) {
    JsonArray sizes = object.getAsJsonArray("shape");
    long[] shape = new long[sizes.size()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = sizes.get(i).getAsLong();
    }
    return shape;
  }

  private static double number(JsonElement value) {
    switch (value.getAsString()) {
      case "nan":
        return Double.NaN;
      case "inf":
        return Double.POSITIVE_INFINITY;
      case "-inf":
        return Double.NEGATIVE_INFINITY;
      default:
        return value.getAsDouble();
    }
  }

  private static Tensor tensor(DataType type, JsonArray values, long... shape) {
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(values.size() * type.byteSize()).order(ByteOrder.LITTLE_ENDIAN);
    for (JsonElement value : values) {
      if (type.isFloating()) {
        Halves.put(bytes, type, number(value));
      } else {
        // Labels may lie beyond 2^53 and, unsigned, beyond 2^63.
        long label = value.getAsBigInteger().longValue();
        for (int i = 0; i < type.byteSize(); i++) {
          bytes.put((byte) (label >> 8 * i));
        }
      }
    }
    return Tensor.of(type, bytes.flip(), values.size()).reshape(shape);
  }
}

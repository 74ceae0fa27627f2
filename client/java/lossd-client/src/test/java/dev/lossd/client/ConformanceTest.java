package dev.lossd.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Every conformance vector by each way to the server, and the hashes of what came back. */
class ConformanceTest {
  private static final List<String> OUTPUTS =
      List.of("loss", "grad_input", "grad_target", "grad_weight");
  // Relative and absolute.
  private static final Map<DataType, double[]> TOLERANCE =
      Map.of(
          DataType.FLOAT64, new double[] {1e-13, 1e-13},
          DataType.FLOAT32, new double[] {3e-7, 1e-7},
          DataType.FLOAT16, new double[] {0x1p-10, 0x1p-24},
          DataType.BFLOAT16, new double[] {0x1p-7, 1e-9});

  @Test
  void everyVectorByEveryWay() throws Exception {
    List<Vector> vectors = Vector.all();
    assertTrue(vectors.stream().filter(Vector::isNll).count() >= 100);
    assertTrue(vectors.stream().filter(vector -> !vector.isNll()).count() >= 600);
    List<String> lines = new ArrayList<>();
    try (ServerProcess server = ServerProcess.start();
        LossdClient unix = LossdClient.builder(server.unix).build();
        LossdClient tcp = LossdClient.builder(server.tcp).build()) {
      List<LossRequest> requests = new ArrayList<>();
      vectors.forEach(vector -> requests.add(vector.request(Transport.AUTO)));
      List<Outcome> many = tcp.evaluateMany(requests);
      for (int i = 0; i < vectors.size(); i++) {
        Vector vector = vectors.get(i);
        lines.add(line(vector, "unary", evaluate(unix, vector.request(Transport.UNARY))));
        lines.add(line(vector, "stream", evaluate(tcp, vector.request(Transport.STREAM))));
        lines.add(line(vector, "many", many.get(i).getResult()));
      }
    }
    String results = System.getProperty("lossd.results", "");
    if (!results.isEmpty()) {
      Files.write(Path.of(results), lines);
    }
    assertEquals(3 * vectors.size(), lines.size());
  }

  private static LossResult evaluate(LossdClient client, LossRequest request) {
    return request instanceof NllLossRequest
        ? client.nllLoss((NllLossRequest) request)
        : client.crossEntropy((CrossEntropyRequest) request);
  }

  private static String line(Vector vector, String way, LossResult result) throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (String output : OUTPUTS) {
      if (vector.expects(output)) {
        Tensor got = output(result, output);
        check(vector.name + " " + way + " " + output, vector.expected(output), got);
        for (ByteBuffer bytes : got.asByteBuffers()) {
          digest.update(bytes);
        }
      }
    }
    LossRequest request = vector.request(Transport.AUTO);
    assertEquals(request.input.getDataType().ofLoss(), result.getLoss().getDataType());
    Tensor grad = result.getGradInput().orElseThrow();
    assertEquals(request.input.getDataType(), grad.getDataType(), vector.name);
    assertArrayEquals(request.input.getShape(), grad.getShape(), vector.name);
    StringBuilder hex = new StringBuilder();
    for (byte b : digest.digest()) {
      hex.append(String.format("%02x", b));
    }
    return vector.name + " " + way + " " + hex;
  }

  private static Tensor output(LossResult result, String output) {
    switch (output) {
      case "loss":
        return result.getLoss();
      case "grad_input":
        return result.getGradInput().orElseThrow();
      case "grad_target":
        return result.getGradTarget().orElseThrow();
      default:
        return result.getGradWeight().orElseThrow();
    }
  }

  private static void check(String name, double[] expected, Tensor tensor) {
    double[] tolerance = TOLERANCE.get(tensor.getDataType());
    double[] got = Halves.read(tensor);
    assertEquals(expected.length, got.length, name);
    for (int i = 0; i < got.length; i++) {
      double room = tolerance[1] + tolerance[0] * Math.abs(expected[i]);
      boolean same = Double.compare(got[i], expected[i]) == 0;
      assertTrue(
          same || Math.abs(got[i] - expected[i]) <= room,
          name + "[" + i + "] is " + got[i] + ", expected " + expected[i]);
    }
  }
}

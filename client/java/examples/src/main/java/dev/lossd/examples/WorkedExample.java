package dev.lossd.examples;

import dev.lossd.client.CrossEntropyRequest;
import dev.lossd.client.LossdClient;
import dev.lossd.client.Tensor;

/** The worked example of the repository's README: two positions of two classes. */
public final class WorkedExample {
  private WorkedExample() {}

  /** Prints the loss; the argument is the server's address, by default 127.0.0.1:50051. */
  public static void main(String[] arguments) {
    String address = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
    System.out.println("loss " + (float) loss(address));
  }

  static double loss(String address) {
    // [start]
    try (LossdClient client = LossdClient.builder(address).build()) {
      Tensor logits = Tensor.of(new float[] {-1.1011f, 0.6231f, 0.2384f, -0.3223f}, 2, 2);
      Tensor labels = Tensor.of(new long[] {0, 1});
      return client
          .crossEntropy(CrossEntropyRequest.builder(logits, labels).build())
          .getLoss()
          .item(); // 1.4502885
    }
    // [end]
  }
}

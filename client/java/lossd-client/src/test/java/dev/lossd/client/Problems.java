package dev.lossd.client;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.function.Executable;

/** Problems that several tests use. */
final class Problems {
  private Problems() {}

  /** Two positions of three classes. */
  static CrossEntropyRequest.Builder small() {
    return CrossEntropyRequest.builder(
        Tensor.of(new float[] {1, 2, 3, 3, 1, 0}, 2, 3), Tensor.of(new long[] {2, 0}));
  }

  /** Random float32 logits and labels. */
  static CrossEntropyRequest.Builder random(int positions, int classes) {
    Random random = new Random(1);
    float[] logits = new float[positions * classes];
    for (int i = 0; i < logits.length; i++) {
      logits[i] = (float) random.nextGaussian();
    }
    return CrossEntropyRequest.builder(
        Tensor.of(logits, positions, classes), labels(positions, classes));
  }

  static Tensor labels(int positions, int classes) {
    Random random = new Random(2);
    return Tensor.of(random.ints(positions, 0, classes).toArray());
  }

  /** The LossdException of a call, whose message has these words. */
  static LossdException failure(String words, Executable call) {
    LossdException error = assertThrows(LossdException.class, call);
    assertTrue(error.getMessage().contains(words), error.getMessage());
    return error;
  }
}

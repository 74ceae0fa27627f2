package dev.lossd.examples;

import dev.lossd.client.CombinedResult;
import dev.lossd.client.CrossEntropyRequest;
import dev.lossd.client.DataType;
import dev.lossd.client.LossResult;
import dev.lossd.client.LossdClient;
import dev.lossd.client.LossdException;
import dev.lossd.client.ManyStream;
import dev.lossd.client.NllLossRequest;
import dev.lossd.client.Outcome;
import dev.lossd.client.Reduction;
import dev.lossd.client.Tensor;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** The tasks of README.md. A test holds the page to what stands between the marks. */
final class Tasks {
  private Tasks() {}

  static float[] gradient(LossdClient client, Tensor logits, Tensor labels) {
    // [gradient]
    LossResult result =
        client.crossEntropy(
            CrossEntropyRequest.builder(logits, labels)
                .labelSmoothing(0.1)
                .gradInput(true)
                .build());
    float[] gradient = result.getGradInput().orElseThrow().toFloatArray();
    long correct = result.getCorrect();
    // [end]
    return correct < 0 ? null : gradient;
  }

  static float[] nll(LossdClient client, Tensor logProbabilities, Tensor labels) {
    // [nll]
    NllLossRequest request =
        NllLossRequest.builder(logProbabilities, labels).reduction(Reduction.NONE).build();
    float[] losses = client.nllLoss(request).getLoss().toFloatArray();
    // [end]
    return losses;
  }

  static Tensor large(LossdClient client, ByteBuffer bytes, Tensor labels, long n, long c) {
    // [large]
    Tensor logits = Tensor.of(DataType.FLOAT32, bytes, n, c); // direct, LITTLE_ENDIAN; not copied
    LossResult result =
        client.crossEntropy(
            CrossEntropyRequest.builder(logits, labels)
                .gradInput(true)
                .timeout(Duration.ofMinutes(5))
                .onProgress(progress -> System.out.println(progress.getSentBytes()))
                .build());
    Tensor gradient = result.getGradInput().orElseThrow();
    // [end]
    return gradient;
  }

  static int many(LossdClient client, List<CrossEntropyRequest> requests) {
    int failed = 0;
    // [many]
    for (Outcome outcome : client.evaluateMany(requests)) {
      if (outcome.getError().isPresent()) {
        failed++;
      } else {
        System.out.println(outcome.getResult().getLoss().item());
      }
    }
    // [end]
    return failed;
  }

  static double oneByOne(LossdClient client, CrossEntropyRequest request) {
    // [stream]
    try (ManyStream many = client.openMany()) {
      CompletableFuture<LossResult> loss = many.submit(request);
      return loss.join().getLoss().item();
    }
    // [end]
  }

  static double shards(LossdClient client, LossResult first, LossResult second) {
    // [combine]
    CombinedResult all = client.combine(List.of(first.getSummary(), second.getSummary()));
    double loss = all.getLoss().orElseThrow().item(); // the bits of one call over all positions
    // [end]
    return loss;
  }

  static LossdClient secure(String address, Path roots, Path chain, Path key, String token) {
    // [tls]
    LossdClient client =
        LossdClient.builder(address)
            .rootCertificates(roots)
            .clientCertificate(chain, key) // where the server asks for one
            .token(token)
            .timeout(Duration.ofSeconds(30))
            .build();
    // [end]
    return client;
  }

  static String error(LossdClient client, Tensor logits) {
    // [error]
    try {
      client.crossEntropy(CrossEntropyRequest.builder(logits, Tensor.of(new int[] {0, 7})).build());
    } catch (LossdException error) {
      return error.getCode() + " " + error.getReason() + " " + error.getField();
      // INVALID_ARGUMENT LABEL_OUT_OF_RANGE target[1]
    }
    // [end]
    return "none";
  }
}

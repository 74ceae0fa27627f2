package dev.lossd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.lossd.v1.EvaluateStreamRequest;
import org.junit.jupiter.api.Test;

/** The messages of a stream: their order, their sizes, and that all bytes are in them. */
class StreamMessagesTest {
  private ByteString weight = ByteString.EMPTY;
  private ByteString target = ByteString.EMPTY;
  private ByteString gradOutput = ByteString.EMPTY;
  private ByteString input = ByteString.EMPTY;

  /** Takes all messages in, and holds them to the order that servers ask for. */
  private void take(LossRequest request, int chunk) {
    StreamMessages messages = new StreamMessages(request, chunk);
    boolean labels = !request.target.getDataType().isFloating();
    for (int number = 0; messages.hasNext(); number++) {
      EvaluateStreamRequest message = messages.next();
      assertEquals(number == 0, message.hasHeader());
      if (!message.getWeight().isEmpty()) {
        assertTrue(target.isEmpty() && input.isEmpty(), "the weight comes first");
      }
      if (labels && !message.getTarget().isEmpty()) {
        assertTrue(input.isEmpty(), "labels come before the input");
      }
      weight = weight.concat(message.getWeight());
      target = target.concat(message.getTarget());
      gradOutput = gradOutput.concat(message.getGradOutput());
      input = input.concat(message.getInput());
      int size =
          message.getWeight().size()
              + message.getTarget().size()
              + message.getGradOutput().size()
              + message.getInput().size();
      assertTrue(size <= chunk + 16, "a message of " + size + " bytes");
    }
    assertEquals(request.byteSize(), messages.sentBytes());
    assertEquals(request.target.data().slice(0, request.target.data().size()), target);
    assertEquals(request.input.data().slice(0, request.input.data().size()), input);
  }

  @Test
  void labelsComeBeforeTheInput() {
    take(Problems.random(7, 5).build(), 24);
    assertTrue(weight.isEmpty());
  }

  @Test
  void companionsGoInStep() {
    Tensor logits = Tensor.of(new double[70], 14, 5);
    LossRequest request =
        CrossEntropyRequest.builder(logits, Tensor.of(new double[70], 14, 5))
            .reduction(Reduction.NONE)
            .gradInput(true)
            .gradOutput(Tensor.of(new double[14]))
            .build();
    take(request, 100);
    assertEquals(14 * 8, gradOutput.size());
  }

  @Test
  void companionsAreNeverFarAhead() {
    LossRequest request =
        CrossEntropyRequest.builder(
                Tensor.of(new float[3000], 30, 100), Tensor.of(new float[3000], 30, 100))
            .build();
    StreamMessages messages = new StreamMessages(request, 1000);
    int ahead = 0;
    while (messages.hasNext()) {
      EvaluateStreamRequest message = messages.next();
      ahead += message.getTarget().size() - message.getInput().size();
      assertTrue(Math.abs(ahead) <= 8, "ahead by " + ahead);
    }
  }

  @Test
  void aSmallWeightIsInTheHeader() {
    LossRequest request = Problems.small().weight(Tensor.of(new float[3])).build();
    EvaluateStreamRequest first = new StreamMessages(request, 100).next();
    assertEquals(
        12, first.getHeader().getCriterion().getCrossEntropy().getWeight().getRaw().size());
    take(request, 100);
    assertTrue(weight.isEmpty());
  }

  @Test
  void aLargeWeightFollowsTheHeader() {
    LossRequest request = Problems.random(1, 20_000).weight(Tensor.of(new float[20_000])).build();
    EvaluateStreamRequest first = new StreamMessages(request, 1000).next();
    assertFalse(first.getHeader().getCriterion().getCrossEntropy().getWeight().hasRaw());
    take(request, 1000);
    assertEquals(80_000, weight.size());
  }

  @Test
  void anEmptyInputHasAMessageForItsCompanions() {
    LossRequest request =
        CrossEntropyRequest.builder(Tensor.of(new float[0], 0, 3), Tensor.of(new int[0]))
            .gradInput(true)
            .gradOutput(Tensor.of(new float[1]).reshape())
            .build();
    take(request, 24);
    assertEquals(4, gradOutput.size());
  }
}

// The compiler's part: this file has to compile, and each line below @ts-expect-error must not.
import { test } from 'node:test';

import { LossdClient, type FloatArray, type LossArray, type ResultTensor } from '@lossd/client';

import { LABELS, LOGITS } from './fakes.mjs';

/** Compiles where Got and Want are one type. */
function same<Got, Want>(
  _: (<T>() => T extends Got ? 1 : 2) extends <T>() => T extends Want ? 1 : 2 ? 'same' : 'different',
): void {
  return;
}

/** Never called: calls would need a server. */
export async function typed(client: LossdClient): Promise<void> {
  const plain = await client.crossEntropy(LOGITS, LABELS);
  same<typeof plain.value, number>('same');
  same<typeof plain.loss, ResultTensor<LossArray>>('same');
  same<typeof plain.grad, ResultTensor<Float32Array<ArrayBuffer>> | undefined>('same');
  // What is asked for in so many words is there for certain, in arrays of the class that came in.
  const full = await client.crossEntropy(
    { data: new Float64Array(6), shape: [2, 3] },
    { data: new Float64Array(6), shape: [2, 3] },
    { grad: true, gradTarget: true, weight: Float64Array.of(1, 2, 3), gradWeight: true, logSumExp: true },
  );
  same<typeof full.grad, ResultTensor<Float64Array<ArrayBuffer>>>('same');
  same<typeof full.gradTarget, ResultTensor<Float64Array<ArrayBuffer>>>('same');
  same<typeof full.gradWeight, ResultTensor<FloatArray>>('same');
  same<typeof full.logSumExp, ResultTensor<LossArray>>('same');
  const perhaps = await client.nllLoss(LOGITS, LABELS, { grad: Math.random() > 0.5 });
  same<typeof perhaps.grad, ResultTensor<Float32Array<ArrayBuffer>> | undefined>('same');
  await client.crossEntropy(LOGITS, LABELS, {
    onProgress: ({ sent, toSend }) => {
      same<typeof sent, number>('same');
      same<typeof toSend, number>('same');
    },
  });

  // @ts-expect-error an option of another language
  await client.crossEntropy(LOGITS, LABELS, { label_smoothing: 0.1 });
  // @ts-expect-error another reduction
  await client.crossEntropy(LOGITS, LABELS, { reduction: 'batchmean' });
  // @ts-expect-error nll_loss has no smoothing
  await client.nllLoss(LOGITS, LABELS, { labelSmoothing: 0.1 });
  // @ts-expect-error integer logits
  await client.crossEntropy(LABELS, LABELS);
  // @ts-expect-error lists are no tensors
  await client.crossEntropy([[1, 2]], LABELS);
  // @ts-expect-error the shape is missing
  await client.crossEntropy({ data: new Float32Array(6) }, LABELS);
  // @ts-expect-error a stream of many has one transport
  await client.many().crossEntropy(LOGITS, LABELS, { transport: 'unary' });
  // @ts-expect-error the gradient was not asked for
  same<typeof plain.grad, ResultTensor<Float32Array<ArrayBuffer>>>('same');
}

test('types', () => {
  same<1, 1>('same');
  same<1, number>('different');
});

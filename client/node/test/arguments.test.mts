// Arguments that are refused, here or by the server, with the argument's name.
import { equal } from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { LossdClient, tensor, type LossdMany, type LossResult } from '@lossd/client';

import { LABELS, LOGITS, fails } from './fakes.mjs';
import { Server } from './server.mjs';

let server: Server;
let client: LossdClient;
before(async () => {
  server = await Server.start();
  client = new LossdClient({ address: server.unix, timeoutMs: 100_000 });
});
after(async () => {
  client.close();
  await server.stop();
});

const WAYS = ['unary', 'stream', 'many'] as const;
type Way = (typeof WAYS)[number];

type AnyCall = (input: unknown, target: unknown, options: object) => Promise<LossResult>;

/** JavaScript's callers pass anything. */
async function evaluate(
  way: Way,
  input: unknown,
  target: unknown,
  options: object,
  kind: 'crossEntropy' | 'nllLoss' = 'crossEntropy',
): Promise<LossResult> {
  const on = (evaluator: LossdClient | LossdMany) => evaluator[kind].bind(evaluator) as unknown as AnyCall;
  if (way !== 'many') return on(client)(input, target, { ...options, transport: way });
  await using many = client.many();
  return await on(many)(input, target, options);
}

const PROBABILITIES = tensor([
  [0.5, 0.5, 0],
  [0, 0, 1],
]);

type Case = readonly [
  name: string,
  input: unknown,
  target: unknown,
  options: object,
  field: string,
  reason: string | undefined,
];
const CASES: readonly Case[] = [
  ['no tensor', null, LABELS, {}, 'input', undefined],
  ['a list', [1, 2], LABELS, {}, 'input', undefined],
  ['no typed array', { data: [1, 2], shape: [2] }, LABELS, {}, 'input.data', undefined],
  ['no shape', { data: LOGITS.data }, LABELS, {}, 'input.shape', undefined],
  ['a negative size', { data: LOGITS.data, shape: [-2, -3] }, LABELS, {}, 'input.shape', undefined],
  ['a size that is no integer', { data: LOGITS.data, shape: [1.5, 4] }, LABELS, {}, 'input.shape', undefined],
  ['too few elements', { data: LOGITS.data, shape: [2, 4] }, LABELS, {}, 'input', 'LENGTH_MISMATCH'],
  ['too many elements', LOGITS, { data: LABELS, shape: [1] }, {}, 'target', 'LENGTH_MISMATCH'],
  [
    'bytes that are no whole elements',
    { data: new Uint8Array(7), shape: [2], dtype: 'float32' },
    LABELS,
    {},
    'input',
    'LENGTH_MISMATCH',
  ],
  ['an unknown dtype', { ...LOGITS, dtype: 'float8' }, LABELS, {}, 'input.dtype', 'DTYPE_UNSUPPORTED'],
  [
    "a dtype that is not the array's",
    { ...LOGITS, dtype: 'float64' },
    LABELS,
    {},
    'input.dtype',
    'DTYPE_MISMATCH',
  ],
  ['integer logits', { data: LABELS, shape: [1, 2] }, LABELS, {}, 'input.dtype', 'DTYPE_UNSUPPORTED'],
  ['a scalar', { data: Float32Array.of(1), shape: [] }, LABELS, {}, 'input.shape', 'RANK_MISMATCH'],
  ['no class', { data: new Float32Array(0), shape: [2, 0] }, LABELS, {}, 'input.shape', 'CLASSES_EMPTY'],
  ['labels of another shape', LOGITS, Int32Array.of(1), {}, 'target.shape', 'SHAPE_MISMATCH'],
  ['a label beyond the classes', LOGITS, Int32Array.of(2, 3), {}, 'target[1]', 'LABEL_OUT_OF_RANGE'],
  [
    'probabilities of another dtype',
    LOGITS,
    { data: new Float64Array(6), shape: [2, 3] },
    {},
    'target.dtype',
    'DTYPE_MISMATCH',
  ],
  [
    'a weight of another shape',
    LOGITS,
    LABELS,
    { weight: Float32Array.of(1, 2) },
    'weight.shape',
    'SHAPE_MISMATCH',
  ],
  ['a weight that is none', LOGITS, LABELS, { weight: [1, 2, 3] }, 'weight', undefined],
  ['gradOutput without a gradient', LOGITS, LABELS, { gradOutput: 2 }, 'gradOutput', 'GRAD_OUTPUT_UNUSED'],
  [
    'gradOutput of another shape',
    LOGITS,
    LABELS,
    { gradOutput: Float32Array.of(1), grad: true },
    'gradOutput.shape',
    'SHAPE_MISMATCH',
  ],
  ['gradTarget of labels', LOGITS, LABELS, { gradTarget: true }, 'gradTarget', 'GRAD_TARGET_OF_CLASS_INDEX'],
  [
    'gradWeight without weight',
    LOGITS,
    LABELS,
    { gradWeight: true },
    'gradWeight',
    'GRAD_WEIGHT_WITHOUT_WEIGHT',
  ],
  [
    'an option of another language',
    LOGITS,
    LABELS,
    { label_smoothing: 0.1 },
    'label_smoothing',
    'FIELD_UNKNOWN',
  ],
  ['smoothing beyond 1', LOGITS, LABELS, { labelSmoothing: 1.5 }, 'labelSmoothing', 'LABEL_SMOOTHING_RANGE'],
  ['smoothing that is no number', LOGITS, LABELS, { labelSmoothing: '0.1' }, 'labelSmoothing', undefined],
  ['an axis beyond the rank', LOGITS, LABELS, { classAxis: 2 }, 'classAxis', 'CLASS_AXIS_RANGE'],
  ['an axis that is no integer', LOGITS, LABELS, { classAxis: 0.5 }, 'classAxis', 'VALUE_RANGE'],
  ['another reduction', LOGITS, LABELS, { reduction: 'batchmean' }, 'reduction', undefined],
  ['another empty mean', LOGITS, LABELS, { emptyMean: 'one' }, 'emptyMean', undefined],
  ['a normalizer of 0', LOGITS, LABELS, { normalizer: 0 }, 'normalizer', 'NORMALIZER_RANGE'],
  [
    'a normalizer without mean',
    LOGITS,
    LABELS,
    { normalizer: 2, reduction: 'sum' },
    'normalizer',
    'NORMALIZER_WITHOUT_MEAN',
  ],
  ['an inexact ignoreIndex', LOGITS, LABELS, { ignoreIndex: 2 ** 53 }, 'ignoreIndex', 'VALUE_RANGE'],
  ['an ignoreIndex beyond int64', LOGITS, LABELS, { ignoreIndex: 1n << 63n }, 'ignoreIndex', 'VALUE_RANGE'],
  [
    'ignoreIndex beside probabilities',
    LOGITS,
    PROBABILITIES,
    { ignoreIndex: 1 },
    'ignoreIndex',
    'IGNORE_INDEX_WITH_PROBABILITIES',
  ],
  ['a negative topK', LOGITS, LABELS, { topK: -1 }, 'topK', 'VALUE_RANGE'],
  ['a flag that is none', LOGITS, LABELS, { grad: 'yes' }, 'grad', undefined],
  ['a signal that is none', LOGITS, LABELS, { signal: {} }, 'signal', undefined],
  ['a negative timeout', LOGITS, LABELS, { timeoutMs: -1 }, 'timeoutMs', undefined],
];

for (const way of WAYS) {
  test(`bad arguments, ${way}`, async (context) => {
    for (const [name, input, target, options, field, reason] of CASES) {
      await context.test(name, async () => {
        const error = await fails(() => evaluate(way, input, target, options), {
          code: 'INVALID_ARGUMENT',
          field,
          reason,
        });
        // Messages begin with the field under the caller's own name.
        equal(error.message.slice(0, field.length + 2), `${field}: `);
      });
    }
  });
}

test('nllLoss takes neither smoothing nor probabilities', async () => {
  for (const way of WAYS) {
    const weight = Float32Array.of(1, 2);
    await fails(() => evaluate(way, LOGITS, LABELS, { weight }, 'nllLoss'), { field: 'weight.shape' });
    await fails(() => evaluate(way, LOGITS, LABELS, { labelSmoothing: 0 }, 'nllLoss'), {
      field: 'labelSmoothing',
      reason: 'FIELD_UNKNOWN',
    });
    await fails(() => evaluate(way, LOGITS, PROBABILITIES, {}, 'nllLoss'), {
      field: 'target.dtype',
      reason: 'DTYPE_MISMATCH',
    });
  }
});

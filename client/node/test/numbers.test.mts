// Plain numbers, halves, arrays of every class, and sums.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';

import {
  LossResult,
  LossdClient,
  Sums,
  tensor,
  toFloat32,
  type DType,
  type FloatArray,
  type Tensor,
} from '@lossd/client';
import { Summary } from '@lossd/client/v1';

import { LABELS, LOGITS, fails } from './fakes.mjs';
import { Server } from './server.mjs';

let server: Server;
let client: LossdClient;
before(async () => {
  server = await Server.start();
  client = new LossdClient({ address: server.tcp, timeoutMs: 20_000 });
});
after(async () => {
  client.close();
  await server.stop();
});

for (const [dtype, fraction] of [
  ['float16', 10],
  ['bfloat16', 7],
] as const) {
  test(`every ${dtype} there and back; what lies between goes to the nearest, ties to even`, () => {
    const bits = Uint16Array.from({ length: 1 << 16 }, (_, index) => index);
    const values = toFloat32({ data: bits, dtype });
    const infinity = ((1 << (15 - fraction)) - 1) << fraction;
    const numbers = [...bits].filter((one) => (one & 0x7fff) <= infinity);
    deepEqual(
      [
        ...tensor(
          numbers.map((one) => values[one]!),
          dtype,
        ).data,
      ],
      numbers,
    );
    equal([...bits].filter((one) => Number.isNaN(values[one])).length, (1 << 16) - numbers.length);
    ok(Number.isNaN(toFloat32(tensor([NaN], dtype))[0]));
    const between: number[] = [];
    const expected: number[] = [];
    for (let low = 0; low + 1 < infinity; low++) {
      // Both are exact in double precision.
      const middle = (values[low]! + values[low + 1]!) / 2;
      between.push(middle, middle * (1 + 2 ** -40), middle * (1 - 2 ** -40), -middle);
      const even = low % 2 === 0 ? low : low + 1;
      expected.push(even, low + 1, low, even + 0x8000);
    }
    deepEqual([...tensor(between, dtype).data], expected);
    const beyond = values[infinity - 1]! * 1.01;
    deepEqual([...tensor([beyond, -Infinity, -0], dtype).data], [infinity, infinity + 0x8000, 0x8000]);
  });
}

test('tensors of nested numbers', async () => {
  deepEqual(
    tensor([
      [1, 2, 3],
      [1, 0, 0],
    ]),
    { ...LOGITS, dtype: 'float32' },
  );
  deepEqual(tensor(5, 'int64'), { data: BigInt64Array.of(5n), shape: [], dtype: 'int64' });
  deepEqual(tensor([2n ** 64n - 1n], 'uint64').data, BigUint64Array.of(2n ** 64n - 1n));
  deepEqual(tensor([[], []], 'int8').shape, [2, 0]);
  await fails(() => tensor([[1, 2], [3]]), { field: 'values' });
  await fails(() => tensor([[1, 2], 3]), { field: 'values' });
  await fails(() => tensor([1, [2]]), { field: 'values' });
  await fails(() => tensor(['1'] as never), { field: 'values' });
  await fails(() => tensor([1, 256], 'uint8'), { field: 'values[1]', reason: 'VALUE_RANGE' });
  await fails(() => tensor([1.5], 'int32'), { field: 'values[0]', reason: 'VALUE_RANGE' });
  await fails(() => tensor([2 ** 53], 'int64'), { field: 'values', reason: 'VALUE_RANGE' });
  await fails(() => tensor([2n ** 63n], 'int64'), { field: 'values[0]', reason: 'VALUE_RANGE' });
  await fails(() => tensor([1], 'float8' as never), { field: 'dtype' });
  await fails(() => toFloat32({ data: Uint16Array.of(1) }), { field: 'dtype' });
});

test('gradients have the class of the array that they belong to', async () => {
  const dtypes = ['float32', 'float64', 'float16', 'bfloat16'] as const;
  for (const dtype of dtypes) {
    const input = tensor(
      [
        [1, 2, 3],
        [1, 0, 0],
      ],
      dtype,
    );
    const expected = await client.crossEntropy(input, LABELS, { grad: true });
    equal(expected.grad.data.constructor, input.data.constructor);
    equal(expected.grad.dtype, dtype);
    equal(expected.loss.dtype, dtype === 'float64' ? 'float64' : 'float32');
    // The same as little-endian bytes at an odd address, as a file or a socket gives them.
    const bytes = Buffer.alloc(input.data.byteLength + 1);
    bytes.set(new Uint8Array(input.data.buffer), 1);
    const raw = { data: bytes.subarray(1), shape: [2, 3], dtype };
    for (const transport of ['unary', 'stream'] as const) {
      const got = await client.crossEntropy(raw, LABELS, { grad: true, transport });
      deepEqual(got.grad.data, new Uint8Array(expected.grad.data.buffer) as Buffer);
      equal(got.value, expected.value);
    }
  }
});

test('labels of every integer type, parts of larger arrays too', async () => {
  const { value } = await client.crossEntropy(LOGITS, LABELS);
  const dtypes: DType[] = ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'];
  for (const dtype of dtypes) {
    const { data } = tensor([7, 2, 0, 7], dtype);
    for (const labels of [data.subarray(1, 3), { data: data.subarray(1, 3), shape: [2], dtype }]) {
      equal((await client.crossEntropy(LOGITS, labels)).value, value, dtype);
    }
  }
  equal((await client.crossEntropy(LOGITS, Uint8ClampedArray.of(2, 0))).value, value);
  const shared = new Float32Array(new SharedArrayBuffer(24));
  shared.set(LOGITS.data);
  equal((await client.crossEntropy({ data: shared, shape: [2, 3] }, LABELS)).value, value);
  const ignored = await client.crossEntropy(LOGITS, BigInt64Array.of(2n, -(2n ** 63n)), {
    ignoreIndex: -(2n ** 63n),
  });
  deepEqual([ignored.positions, ignored.ignored], [2, 1]);
});

test('a number as the incoming gradient, and other options', async () => {
  const once = await client.crossEntropy(LOGITS, LABELS, {
    grad: true,
    reduction: 'sum',
    topK: 2,
    classAxis: -1,
  });
  const twice = await client.crossEntropy(LOGITS, LABELS, { grad: true, reduction: 'sum', gradOutput: 2 });
  deepEqual(
    [...twice.grad.data],
    [...once.grad.data].map((one) => 2 * one),
  );
  deepEqual([once.correct, once.correctTopK], [2, 2]);
  const half: Tensor<FloatArray> = tensor(
    [
      [1, 2, 3],
      [1, 0, 0],
    ],
    'float16',
  );
  ok((await client.crossEntropy(half, LABELS, { grad: true, gradOutput: 2 })).grad);
  equal((await client.crossEntropy(LOGITS, LABELS, { normalizer: 4 })).value, once.value / 4);
});

test('shards of a batch give the loss of the whole', async () => {
  const whole = await client.crossEntropy(LOGITS, LABELS, { weight: Float32Array.of(0.3, 1, 0.7) });
  const parts = await Promise.all(
    [0, 1].map((row) => {
      const input = { data: LOGITS.data.subarray(3 * row, 3 * row + 3), shape: [1, 3] };
      return client.crossEntropy(input, LABELS.subarray(row, row + 1), {
        weight: Float32Array.of(0.3, 1, 0.7),
      });
    }),
  );
  const combined = await client.combine([...parts]);
  equal(combined.loss, whole.value);
  deepEqual(
    [combined.normalizer, combined.lossSum, combined.positions],
    [whole.normalizer, whole.lossSum, 2],
  );
  equal((await client.combine(parts.map(({ summary }) => summary))).loss, whole.value);
  const none = await client.crossEntropy(LOGITS, LABELS, { reduction: 'none' });
  equal((await client.combine([none])).loss, undefined);
  const double = await client.crossEntropy(
    tensor(
      [
        [1, 2, 3],
        [1, 0, 0],
      ],
      'float64',
    ),
    LABELS,
  );
  equal((await client.combine([double])).loss, double.value);
  ok(whole instanceof LossResult && whole instanceof Sums && combined instanceof Sums);
});

test('sums are rounded once', () => {
  const sum = (units: bigint, more: object = {}, dtype = 2): number => {
    const length = Math.ceil((units.toString(2).length + 1) / 8);
    const bytes = Buffer.from(
      BigInt.asUintN(8 * length, units)
        .toString(16)
        .padStart(2 * length, '0'),
      'hex',
    ).reverse();
    return new Sums(Summary.create({ dtype, lossSum: { units: bytes, ...more } })).lossSum;
  };
  const one = 2n ** 1074n;
  equal(sum(0n), 0);
  equal(sum(1n), 2 ** -1074);
  equal(sum(-3n), -3 * 2 ** -1074);
  equal(sum(one), 1);
  equal(sum(-one * 255n), -255);
  // Half a unit in the last place: to even; a trifle more: up.
  equal(sum(one + 2n ** 1021n), 1);
  equal(sum(one + 2n ** 1021n + 1n), 1 + 2 ** -52);
  equal(sum(one + 3n * 2n ** 1021n), 1 + 2 ** -51);
  equal(sum(one * (2n ** 1024n - 2n ** 971n)), Number.MAX_VALUE);
  equal(sum(one * 2n ** 1024n), Infinity);
  equal(sum(-one * 2n ** 1030n), -Infinity);
  equal(sum(2n ** 149n, {}, 1), 1);
  equal(sum(1n, {}, 1), 2 ** -149);
  ok(Number.isNaN(sum(1n, { nanCount: 1n })));
  ok(Number.isNaN(sum(1n, { positiveInfinityCount: 1n, negativeInfinityCount: 2n })));
  equal(sum(1n, { positiveInfinityCount: 1n }), Infinity);
  equal(sum(1n, { negativeInfinityCount: 1n }), -Infinity);
  equal(new Sums(Summary.create()).normalizer, 0);
});

// Plain numbers, halves, arrays of every class, and sums.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';

import {
  LossdClient,
  tensor,
  toFloat32,
  type DType,
  type FloatArray,
  type HalfArray,
  type Tensor,
} from '@lossd/client';

import { LABELS, LOGITS, fails } from './fakes.mjs';
import { Server } from './server.mjs';

let server: Server;
let client: LossdClient;
before(async () => {
  server = await Server.start();
  client = new LossdClient({ address: server.tcp, timeoutMs: 100_000 });
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
      deepEqual(got.grad.data, new Uint8Array(expected.grad.data.buffer));
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
  // As in PyTorch, an input of one dimension is all classes, whatever the default says.
  const line = { data: LOGITS.data.subarray(0, 3), shape: [3] };
  const label = { data: Uint8Array.of(2), shape: [] };
  const { value } = await client.crossEntropy(line, label);
  equal((await client.crossEntropy(line, label, { classAxis: 1 })).value, value);
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

const { Float16Array: HalfClass } = globalThis as {
  Float16Array?: new (values: Iterable<number>) => HalfArray;
};

test('a Float16Array, where the runtime has it', { skip: HalfClass === undefined }, async () => {
  const data = new HalfClass!(LOGITS.data);
  const got = await client.crossEntropy({ data, shape: [2, 3] }, LABELS, { grad: true });
  const expected = await client.crossEntropy(tensor([[1, 2, 3], [1, 0, 0]], 'float16'), LABELS, { grad: true }); // prettier-ignore
  deepEqual([got.value, got.grad.dtype, got.grad.data.constructor], [expected.value, 'float16', HalfClass]);
  deepEqual(new Uint16Array(got.grad.data.buffer), expected.grad.data);
});

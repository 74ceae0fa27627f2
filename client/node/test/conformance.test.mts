// The conformance vectors, three ways. Where LOSSD_RESULTS names a file, it gets a line for each vector
// and way, with a hash of the results' bytes: other clients' must be the same.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { LossdClient, tensor, toFloat32 } from '@lossd/client';
import type { DType, FloatArray, LossResult, Nested, ResultTensor, Tensor } from '@lossd/client';

import { ROOT, Server } from './server.mjs';

/** JSON's numbers, words for what JSON has not, and integers of 16 digits or more as strings. */
type Value = number | string;
interface Values {
  dtype: DType;
  shape?: number[];
  values: Value[];
}
interface Vector {
  name: string;
  criterion?: 'cross_entropy' | 'nll_loss';
  dtype: DType;
  shape: number[];
  reduction: 'none' | 'sum' | 'mean';
  input: Value[];
  target: Values & { shape: number[] };
  weight?: Values;
  grad_output?: Values;
  class_axis?: number;
  ignore_index?: Value;
  label_smoothing?: number;
  expect: { loss: Value[]; grad_input: Value[]; grad_target?: Value[]; grad_weight?: Value[] };
}

const FOLDER = join(ROOT, 'tests/conformance');
const WAYS = ['unary', 'stream', 'many'] as const;
// Relative and absolute.
const TOLERANCE: Partial<Record<DType, readonly [number, number]>> = {
  float64: [1e-13, 1e-13],
  float32: [3e-7, 1e-7],
  float16: [2 ** -10, 2 ** -24],
  bfloat16: [2 ** -7, 1e-9],
};

const vectors = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.jsonl'))
  .sort()
  .flatMap((name) => readFileSync(join(FOLDER, name), 'utf8').trim().split('\n').map(parse));

let server: Server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

/** JSON.parse would round labels beyond 2^53. */
function parse(line: string): Vector {
  return JSON.parse(line.replace(/(?<=[[,:])-?\d{16,}(?=[,\]}])/g, '"$&"')) as Vector;
}

function float(value: Value): number {
  return value === 'inf' ? Infinity : value === '-inf' ? -Infinity : Number(value);
}

function given({ dtype, values }: Values, shape: readonly number[]): Tensor {
  const whole = dtype.includes('int');
  const flat: Nested = values.map((value) => (whole ? BigInt(value) : float(value)));
  return { ...tensor(flat, dtype), shape };
}

function positions({ shape, class_axis: axis = Math.min(1, shape.length - 1) }: Vector): number[] {
  return shape.toSpliced(axis < 0 ? axis + shape.length : axis, 1);
}

type Evaluator = Pick<LossdClient, 'crossEntropy' | 'nllLoss'>;

function evaluate(client: Evaluator, vector: Vector, transport: object): Promise<LossResult> {
  const { weight, grad_output: gradOutput, expect, ignore_index: ignored } = vector;
  const input = given({ dtype: vector.dtype, values: vector.input }, vector.shape) as Tensor<FloatArray>;
  const target = given(vector.target, vector.target.shape);
  const lossShape = vector.reduction === 'none' ? positions(vector) : [];
  const options = {
    reduction: vector.reduction,
    grad: true,
    ...(vector.class_axis === undefined ? {} : { classAxis: vector.class_axis }),
    ...(ignored === undefined ? {} : { ignoreIndex: BigInt(ignored) }),
    ...(weight === undefined ? {} : { weight: given(weight, [weight.values.length]) as Tensor<FloatArray> }),
    ...(gradOutput === undefined ? {} : { gradOutput: given(gradOutput, lossShape) as Tensor<FloatArray> }),
    ...(expect.grad_weight === undefined ? {} : { gradWeight: true }),
    ...transport,
  };
  if (vector.criterion === 'nll_loss') return client.nllLoss(input, target, options);
  const more = {
    ...(vector.label_smoothing === undefined ? {} : { labelSmoothing: vector.label_smoothing }),
    ...(expect.grad_target === undefined ? {} : { gradTarget: true }),
  };
  return client.crossEntropy(input, target, { ...options, ...more });
}

function numbers({ data, dtype }: ResultTensor): number[] {
  if (dtype === 'float16' || dtype === 'bfloat16')
    return [...toFloat32({ data: data as Uint16Array, dtype })];
  return Array.from(data as Float32Array);
}

function check(name: string, got: ResultTensor | undefined, expected: Value[], dtype: DType): void {
  const [relative, absolute] = TOLERANCE[dtype]!;
  equal(got?.dtype, dtype, name);
  const values = numbers(got);
  equal(values.length, expected.length, name);
  for (const [index, value] of expected.map(float).entries()) {
    const near = Math.abs(values[index]! - value) <= absolute + relative * Math.abs(value);
    ok(
      near || Object.is(values[index], value),
      `${name}[${String(index)}]: ${String(values[index])}, not ${String(value)}`,
    );
  }
}

function bytes({ data }: ResultTensor): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

/** Checks a result; returns the hash of its bytes. */
function verify(vector: Vector, got: LossResult): string {
  const { name, expect } = vector;
  const hash = createHash('sha256');
  check(`${name} loss`, got.loss, expect.loss, vector.dtype === 'float64' ? 'float64' : 'float32');
  check(`${name} grad`, got.grad, expect.grad_input, vector.dtype);
  deepEqual(got.grad?.shape, vector.shape, name);
  hash.update(bytes(got.loss)).update(bytes(got.grad));
  if (expect.grad_target !== undefined) {
    check(`${name} gradTarget`, got.gradTarget, expect.grad_target, vector.target.dtype);
    hash.update(bytes(got.gradTarget!));
  }
  if (expect.grad_weight !== undefined) {
    check(`${name} gradWeight`, got.gradWeight, expect.grad_weight, vector.weight!.dtype);
    hash.update(bytes(got.gradWeight!));
  }
  return hash.digest('hex');
}

test('every vector, in one message, in a stream cut anywhere, and with others', async () => {
  const count = (kind: string) =>
    vectors.filter(({ criterion = 'cross_entropy' }) => criterion === kind).length;
  ok(count('cross_entropy') >= 600 && count('nll_loss') >= 100);
  await using client = new LossdClient({ address: server.tcp, timeoutMs: 100_000 });
  await using many = client.many();
  const together = vectors.map((vector) => evaluate(many, vector, {}));
  const lines: string[] = [];
  for (const [index, vector] of vectors.entries()) {
    const results = {
      unary: await evaluate(client, vector, { transport: 'unary' }),
      stream: await evaluate(client, vector, { transport: 'stream', chunkBytes: 24 }),
      many: await together[index]!,
    };
    const hashes = WAYS.map((way) => verify(vector, results[way]));
    equal(new Set(hashes).size, 1, vector.name);
    lines.push(...WAYS.map((way, at) => `${vector.name} ${way} ${hashes[at]!}\n`));
  }
  if (process.env.LOSSD_RESULTS !== undefined) writeFileSync(process.env.LOSSD_RESULTS, lines.join(''));
});

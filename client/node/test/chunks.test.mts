// The messages of a stream as a server sees them, and that they are not made before they are wanted.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';

import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  LossdClient,
  type CrossEntropyOptions,
  type FloatArray,
  type Tensor,
  type TensorLike,
} from '@lossd/client';
import type { EvaluateStreamRequest, EvaluateStreamResponse } from '@lossd/client/v1';

import { FakeServer, LABELS, LOGITS, fails, noise } from './fakes.mjs';
import { PACKAGE } from './server.mjs';

/** The messages that a problem goes in. */
async function messages(
  input: Tensor<FloatArray>,
  target: TensorLike,
  options: CrossEntropyOptions,
  chunkBytes: number,
): Promise<EvaluateStreamRequest[]> {
  const seen: EvaluateStreamRequest[] = [];
  await using fake = await FakeServer.start({
    evaluateStream: (call: ServerDuplexStream<EvaluateStreamRequest, EvaluateStreamResponse>) => {
      call.on('data', (request: EvaluateStreamRequest) => seen.push(request));
      call.on('end', () => call.emit('error', { code: 3, details: 'enough' }));
    },
  });
  await using client = new LossdClient({ address: fake.address });
  await fails(
    () => client.crossEntropy(input, target, { ...options, transport: 'stream', chunkBytes }),
    { code: 'INVALID_ARGUMENT' },
    /enough/,
  );
  return seen;
}

const INPUT = { data: noise(10_000), shape: [100, 100] };

test('a chunk holds no more than it may, and companions keep step', async () => {
  const target = { data: noise(10_000).map(Math.abs), shape: [100, 100] };
  const options = { reduction: 'none', grad: true, gradOutput: noise(100) } as const;
  const [header, ...rest] = await messages(INPUT, target, options, 1000);
  ok(header?.header !== undefined);
  const sent = { input: 0, target: 0, gradOutput: 0 };
  for (const { input, target: beside, gradOutput } of rest) {
    ok(input.length + beside.length + gradOutput.length <= 1000 + 16);
    sent.input += input.length;
    sent.target += beside.length;
    sent.gradOutput += gradOutput.length;
    ok(Math.abs(sent.input - sent.target) <= 8);
    ok(Math.abs(sent.input / 100 - sent.gradOutput) <= 8);
  }
  deepEqual(sent, { input: 40_000, target: 40_000, gradOutput: 400 });
  ok(rest.length < 85);
});

test('labels come before the input, and a scalar with its first piece', async () => {
  const seen = await messages(INPUT, new Int32Array(100), { grad: true, gradOutput: 2 }, 300);
  const kinds = seen
    .map(({ target, input }) => (target.length > 0 ? 't' : input.length > 0 ? 'i' : 'h'))
    .join('');
  ok(/^htti+$/.test(kinds), kinds);
  equal(seen.find(({ input }) => input.length > 0)?.gradOutput.length, 4);
});

test('no message is made while the stream is full', async () => {
  const written: EvaluateStreamRequest[] = [];
  const stream = Object.assign(new EventEmitter(), {
    write: (request: EvaluateStreamRequest) => written.push(request) % 3 !== 0,
    end: () => written.push({} as EvaluateStreamRequest),
    cancel: () => undefined,
  });
  const call = { stream, ended: () => undefined, failed: (error: Error) => error };
  const require = createRequire(import.meta.url);
  const { evaluateStream } = require(join(PACKAGE, 'dist/stream.js')) as {
    evaluateStream: (...args: unknown[]) => Promise<unknown>;
  };
  const { Problem } = require(join(PACKAGE, 'dist/problem.js')) as {
    Problem: new (...args: unknown[]) => object;
  };
  const problem = new Problem('crossEntropy', LOGITS, LABELS, {});
  const result = evaluateStream({ duplex: () => call }, problem, { chunkBytes: 4 }, {});
  // A header, two labels, six logits and the end.
  for (const count of [3, 6, 9]) {
    equal(written.length, count);
    stream.emit('drain');
  }
  equal(written.length, 10);
  stream.emit('error', new Error('enough'));
  await result.then(
    () => {
      ok(false);
    },
    (error: unknown) => {
      equal((error as Error).message, 'enough');
    },
  );
});

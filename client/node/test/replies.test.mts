// Servers that are busy, break off, or answer something else than was asked.
import { equal, ok } from 'node:assert/strict';
import { test } from 'node:test';

import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js';
import { LossdClient } from '@lossd/client';
import { EvaluateResponse, EvaluateStreamResponse } from '@lossd/client/v1';
import type { EvaluateRequest, EvaluateStreamRequest } from '@lossd/client/v1';

import { FakeServer, LABELS, LOGITS, fails, grpcError, milliseconds, noise, statusOf } from './fakes.mjs';

async function call(client: LossdClient, transport: 'unary' | 'stream', timeoutMs = Infinity): Promise<void> {
  await client.crossEntropy(LOGITS, LABELS, { transport, timeoutMs });
}

test('a stream that breaks off is sent again whole', async () => {
  const sizes: number[] = [];
  await using fake = await FakeServer.start({
    evaluateStream: (stream: ServerDuplexStream<EvaluateStreamRequest, EvaluateStreamResponse>) => {
      let bytes = 0;
      stream.on('data', ({ input }: EvaluateStreamRequest) => {
        bytes += input.length;
        if (sizes.length === 0 && bytes > 1000) {
          sizes.push(bytes);
          stream.emit('error', { code: 14, details: 'Socket closed' });
        }
      });
      stream.on('end', () => {
        sizes.push(bytes);
        stream.emit('error', { code: 3, details: 'enough' });
      });
    },
  });
  await using client = new LossdClient({ address: fake.address });
  const input = { data: noise(1000), shape: [10, 100] };
  const chunked = { transport: 'stream', chunkBytes: 500 } as const;
  await fails(
    () => client.crossEntropy(input, new Uint8Array(10), chunked),
    { code: 'INVALID_ARGUMENT' },
    /enough/,
  );
  equal(sizes.length, 2);
  equal(sizes[1], 4000);
});

test('a server that names a delay is asked again after it', async () => {
  const times: number[] = [];
  let status = statusOf(8, 'input: no room', 'input', 'MEMORY_BUSY', 300);
  await using fake = await FakeServer.start({
    evaluate: (
      _: ServerUnaryCall<EvaluateRequest, EvaluateResponse>,
      callback: sendUnaryData<EvaluateResponse>,
    ) => {
      times.push(performance.now());
      callback(grpcError(status));
    },
  });
  await using client = new LossdClient({ address: fake.address });
  const busy = await fails(() => call(client, 'unary'), {
    code: 'RESOURCE_EXHAUSTED',
    reason: 'MEMORY_BUSY',
    retryAfterMs: 300,
  });
  equal(busy.field, 'input');
  equal(times.length, 4);
  ok(times[1]! - times[0]! >= 299 && times[2]! - times[1]! >= 299);
  // Where the delay goes beyond the deadline, the error comes at once and not the deadline's.
  times.length = 0;
  status = statusOf(8, 'input: no room', 'input', 'MEMORY_BUSY', 3000);
  const took = await milliseconds(() => fails(() => call(client, 'unary', 2900), { reason: 'MEMORY_BUSY' }));
  ok(took < 2000 && times.length === 1, `${String(took)} ms`);
  // Without a delay the same call would be refused again.
  times.length = 0;
  status = statusOf(8, 'input: no room', 'input', 'MEMORY_LIMIT');
  await fails(() => call(client, 'unary'), { reason: 'MEMORY_LIMIT', retryAfterMs: undefined });
  equal(times.length, 1);
});

test('paths of the protocol are arguments here', async () => {
  let path = '';
  await using fake = await FakeServer.start({
    evaluate: (_: unknown, callback: sendUnaryData<EvaluateResponse>) => {
      callback(grpcError(statusOf(3, `${path}: no`, path, 'FIELD_UNKNOWN')));
    },
  });
  await using client = new LossdClient({ address: fake.address });
  const names = {
    'outputs.grad_input': 'grad',
    'outputs.log_sum_exp': 'logSumExp',
    'criterion.empty_mean': 'emptyMean',
    'criterion.nll_loss.ignore_index': 'ignoreIndex',
    'input.shape[2]': 'input.shape[2]',
    grad_output: 'gradOutput',
  };
  for (const [name, field] of Object.entries(names)) {
    path = name;
    const error = await fails(() => call(client, 'unary'), { field });
    equal(error.message, `${field}: no`);
  }
});

test('answers that do not fit the question', async () => {
  let answer = EvaluateResponse.create();
  let replies: EvaluateStreamResponse[] = [];
  await using fake = await FakeServer.start({
    evaluate: (_: unknown, callback: (error: null, response: EvaluateResponse) => void) => {
      callback(null, answer);
    },
    evaluateStream: (stream: ServerDuplexStream<EvaluateStreamRequest, EvaluateStreamResponse>) => {
      for (const reply of replies) stream.write(reply);
      stream.end();
    },
  });
  await using client = new LossdClient({ address: fake.address, timeoutMs: 5000 });
  const float = (bytes: number, shape: bigint[], dtype = 1) => ({
    dtype,
    shape,
    data: { $case: 'raw' as const, value: new Uint8Array(bytes) },
  });
  const summary = { positions: 2n, dtype: 1 };
  const unary: readonly [Parameters<typeof EvaluateResponse.create>[0], RegExp][] = [
    [{}, /loss is missing/],
    [{ loss: float(4, []) }, /summary is missing/],
    [{ loss: float(8, [2n]), summary }, /loss is float32 of shape \[2\], expected float32 of shape \[\]/],
    [{ loss: float(8, [], 2), summary }, /loss is float64/],
    [{ loss: float(3, []), summary }, /loss has 3 bytes, expected 4/],
    [{ loss: float(4, []), summary: { ...summary, positions: 3n } }, /summary.positions is 3, expected 2/],
    [{ loss: float(4, []), summary: { ...summary, dtype: 2 } }, /summary.dtype is float64/],
  ];
  for (const [given, words] of unary) {
    answer = EvaluateResponse.create(given);
    await fails(() => call(client, 'unary'), { code: 'INTERNAL' }, words);
  }
  const reply = (given: Parameters<typeof EvaluateStreamResponse.create>[0]) =>
    EvaluateStreamResponse.create(given);
  const streams: readonly [EvaluateStreamResponse[], RegExp][] = [
    [[], /loss is cut short: 0 bytes, expected 4/],
    [[reply({ loss: new Uint8Array(4) })], /summary is missing/],
    [[reply({ loss: new Uint8Array(5), summary })], /loss has at least 5 bytes, expected 4/],
    [[reply({ gradInput: new Uint8Array(1) })], /gradInput has at least 1 bytes, expected 0/],
    [[reply({ loss: new Uint8Array(4), summary }), reply({ loss: new Uint8Array(1) })], /something follows/],
  ];
  for (const [given, words] of streams) {
    replies = given;
    await fails(() => call(client, 'stream'), { code: 'INTERNAL' }, words);
  }
});

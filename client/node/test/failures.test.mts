// Servers that are not there, not lossd's, silent, busy or gone in the middle; and calls that are ended.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, test } from 'node:test';

import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js';
import { LossdClient } from '@lossd/client';
import {
  EvaluateResponse,
  EvaluateStreamResponse,
  type EvaluateRequest,
  type EvaluateStreamRequest,
} from '@lossd/client/v1';

import { FakeServer, LABELS, LOGITS, TcpFake, fails, grpcError, noise, statusOf } from './fakes.mjs';
import { Server } from './server.mjs';

let server: Server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const WAYS = ['unary', 'stream', 'many'] as const;

/** A call that goes one of the ways. */
async function call(client: LossdClient, way: (typeof WAYS)[number], options: object = {}): Promise<number> {
  if (way !== 'many')
    return (await client.crossEntropy(LOGITS, LABELS, { ...options, transport: way })).value;
  await using many = client.many();
  return (await many.crossEntropy(LOGITS, LABELS, options)).value;
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

for (const way of WAYS) {
  test(`nobody listens, ${way}`, async () => {
    await using client = new LossdClient({ address: '127.0.0.1:1' });
    const took = await milliseconds(() =>
      fails(() => call(client, way), { code: 'UNAVAILABLE' }, /127\.0\.0\.1:1/),
    );
    // Four attempts, after some 50, 150 and 450 ms.
    ok(took > 500 && took < 5000, `${String(took)} ms`);
    const hurried = await milliseconds(() => fails(() => call(client, way, { timeoutMs: 100 }), {}));
    ok(hurried < 400, `${String(hurried)} ms`);
  });

  test(`another protocol at the address, ${way}`, async () => {
    await using http = await TcpFake.start((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await using client = new LossdClient({ address: http.address, timeoutMs: 5000 });
    await fails(() => call(client, way), { code: 'UNAVAILABLE' }, new RegExp(http.address));
  });

  test(`a silent server, ${way}`, async () => {
    await using silent = await TcpFake.start(() => undefined);
    await using client = new LossdClient({ address: silent.address, timeoutMs: 200 });
    const took = await milliseconds(() => fails(() => call(client, way), { code: 'DEADLINE_EXCEEDED' }));
    ok(took < 1500, `${String(took)} ms`);
    const signal = AbortSignal.timeout(100);
    const error = await fails(() => call(client, way, { signal, timeoutMs: Infinity }), {
      code: 'CANCELLED',
    });
    equal(error.cause, signal.reason);
    equal(getEventListeners(signal, 'abort').length, 0);
  });

  test(`another service at the address, ${way}`, async () => {
    await using other = await FakeServer.start({});
    await using client = new LossdClient({ address: other.address });
    await fails(() => call(client, way), { code: 'UNIMPLEMENTED' }, /is it a lossd server/);
  });

  test(`aborted before the call, no time left, closed, ${way}`, async () => {
    const client = new LossdClient({ address: server.tcp });
    const reason = new Error('not wanted');
    const error = await fails(() => call(client, way, { signal: AbortSignal.abort(reason) }), {
      code: 'CANCELLED',
    });
    equal(error.cause, reason);
    await fails(() => call(client, way, { timeoutMs: 0 }), { code: 'DEADLINE_EXCEEDED' });
    client.close();
    client.close();
    await fails(() => call(client, way), { code: 'FAILED_PRECONDITION' }, /closed/);
  });

  test(`closed in the middle, ${way}`, async () => {
    await using silent = await TcpFake.start(() => undefined);
    const client = new LossdClient({ address: silent.address });
    const pending = fails(() => call(client, way), { code: 'CANCELLED' }, /closed/);
    setTimeout(() => {
      client.close();
    }, 50);
    await pending;
  });

  test(`a server that comes back, ${way}`, async () => {
    const first = await Server.start();
    await using client = new LossdClient({ address: first.tcp, timeoutMs: 20_000 });
    const value = await call(client, way);
    await first.stop('SIGKILL');
    const pending = call(client, way);
    const second = await Server.start([], first.tcp);
    equal(await pending, value);
    await second.stop();
  });
}

test('a signal outlives its calls without their listeners', async () => {
  await using client = new LossdClient({ address: server.tcp });
  const { signal } = new AbortController();
  for (const way of WAYS) await call(client, way, { signal });
  await fails(() => client.crossEntropy(LOGITS, Int32Array.of(9, 9), { signal, transport: 'stream' }), {
    field: 'target[0]',
  });
  equal(getEventListeners(signal, 'abort').length, 0);
});

test('aborted in the middle of a stream; the client goes on', async () => {
  await using client = new LossdClient({ address: server.tcp });
  const controller = new AbortController();
  const input = { data: new Float32Array(4 << 20), shape: [4, 1 << 20] };
  const labels = new Uint8Array(4);
  const onProgress = ({ sent }: { sent: number }): void => {
    if (sent > 4 << 20) controller.abort();
  };
  await fails(
    () => client.crossEntropy(input, labels, { signal: controller.signal, onProgress, grad: true }),
    { code: 'CANCELLED' },
  );
  ok(await call(client, 'unary'));
});

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
  const took = await milliseconds(() =>
    fails(() => call(client, 'unary', { timeoutMs: 250 }), { reason: 'MEMORY_BUSY' }),
  );
  ok(took < 200 && times.length === 1, `${String(took)} ms`);
  // Without a delay the same call would be refused again.
  times.length = 0;
  status = statusOf(8, 'input: no room', 'input', 'MEMORY_LIMIT');
  await fails(() => call(client, 'unary'), { reason: 'MEMORY_LIMIT', retryAfterMs: undefined });
  equal(times.length, 1);
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
  deepEqual([streams.length, unary.length], [5, 7]);
});

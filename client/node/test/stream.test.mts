// What goes by stream: large problems, their order, progress and memory.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';

import type { ServerDuplexStream } from '@grpc/grpc-js';
import { LossdClient, type LossResult, type Progress } from '@lossd/client';
import {
  GetServerInfoResponse,
  type EvaluateStreamRequest,
  type EvaluateStreamResponse,
} from '@lossd/client/v1';

import { FakeServer, LABELS, fails, noise } from './fakes.mjs';
import { Server } from './server.mjs';

let server: Server;
let narrow: Server;
before(async () => {
  server = await Server.start();
  narrow = await Server.start(['--max-message-bytes', '64KiB']);
});
after(() => Promise.all([server.stop(), narrow.stop()]));

function connect(address: string): LossdClient {
  return new LossdClient({ address, timeoutMs: 100_000 });
}

/** The bytes of all tensors of a result. */
function bytesOf({ loss, grad, gradTarget, gradWeight, logSumExp }: LossResult): Buffer[] {
  return [loss, grad, gradTarget, gradWeight, logSumExp].flatMap((one) =>
    one === undefined ? [] : [Buffer.from(one.data.buffer)],
  );
}

const LARGE = { data: noise(64 * 4000), shape: [64, 4000] };
const LARGE_LABELS = Uint16Array.from({ length: 64 }, (_, index) => (index * 997) % 4000);

test('chunks of any size give the bits of one message', async () => {
  await using client = connect(server.tcp);
  const options = { grad: true, logSumExp: true } as const;
  const one = await client.crossEntropy(LARGE, LARGE_LABELS, { ...options, transport: 'unary' });
  for (const chunkBytes of [999, 4096, 1 << 20, 1 << 30]) {
    const other = await client.crossEntropy(LARGE, LARGE_LABELS, {
      ...options,
      transport: 'stream',
      chunkBytes,
    });
    deepEqual(bytesOf(other as LossResult), bytesOf(one as LossResult));
    equal(other.lossSum, one.lossSum);
  }
});

test('probabilities, an incoming gradient and a large weight, in step with the input', async () => {
  await using client = connect(server.tcp);
  const target = { data: noise(64 * 4000).map((value) => Math.abs(value) / 1e4), shape: [64, 4000] };
  const weight = noise(4000).map(Math.abs);
  const options = { weight, grad: true, gradTarget: true, reduction: 'none', gradOutput: noise(64) } as const;
  const one = await client.crossEntropy(LARGE, target, { ...options, transport: 'unary' });
  const other = await client.crossEntropy(LARGE, target, {
    ...options,
    transport: 'stream',
    chunkBytes: 1001,
  });
  deepEqual(bytesOf(other as LossResult), bytesOf(one as LossResult));

  // 80,000 bytes of weight: more than a header may hold, so that they follow it.
  const wide = { data: noise(2 * 20_000), shape: [2, 20_000] };
  const many = { weight: noise(20_000).map(Math.abs), gradWeight: true, grad: true } as const;
  const whole = await client.crossEntropy(wide, LABELS, { ...many, transport: 'unary' });
  const cut = await client.crossEntropy(wide, LABELS, { ...many, transport: 'stream' });
  deepEqual(bytesOf(cut as LossResult), bytesOf(whole as LossResult));
  await using small = connect(narrow.tcp);
  const streamed = await small.crossEntropy(wide, LABELS, { ...many, transport: 'stream' });
  deepEqual(bytesOf(streamed as LossResult), bytesOf(whole as LossResult));
});

test('problems go by stream where they fit no message of the server', async () => {
  await using client = connect(narrow.tcp);
  const expected = { code: 'RESOURCE_EXHAUSTED' } as const;
  await fails(
    () => client.crossEntropy(LARGE, LARGE_LABELS, { transport: 'unary' }),
    expected,
    /transport: 'stream'/,
  );
  // 100 kB: below the size from which on all problems go by stream.
  const middling = { data: noise(25_000), shape: [25, 1000] };
  const labels = new Uint8Array(25);
  const { value } = await client.crossEntropy(middling, labels);
  await using many = client.many();
  equal((await many.crossEntropy(middling, labels)).value, value);
  // A chunk above the limit is cut.
  await client.crossEntropy(LARGE, LARGE_LABELS, { chunkBytes: 1 << 20, transport: 'stream' });
});

test('limits are asked for once, and again after one was passed', async () => {
  let asked = 0;
  let code = 3;
  await using fake = await FakeServer.start({
    getServerInfo: (_: unknown, callback: (error: null, info: GetServerInfoResponse) => void) => {
      asked++;
      callback(null, GetServerInfoResponse.create({ version: '1.2.3' }));
    },
    evaluateStream: (call: ServerDuplexStream<EvaluateStreamRequest, EvaluateStreamResponse>) => {
      call.emit('error', { code, details: 'no' });
    },
  });
  await using client = connect(fake.address);
  const call = () => client.crossEntropy(LARGE, LARGE_LABELS, { chunkBytes: 100_000 });
  for (let count = 0; count < 3; count++) await fails(call, { code: 'INVALID_ARGUMENT' });
  equal(asked, 1);
  code = 8;
  await fails(call, { code: 'RESOURCE_EXHAUSTED' });
  equal(asked, 1);
  await fails(call, { code: 'RESOURCE_EXHAUSTED' });
  equal(asked, 2);
});

test('progress grows to the whole, and its error ends the call', async () => {
  await using client = connect(server.tcp);
  const seen: Progress[] = [];
  const onProgress = (progress: Progress): void => void seen.push(progress);
  const { grad } = await client.crossEntropy(LARGE, LARGE_LABELS, {
    grad: true,
    transport: 'stream',
    chunkBytes: 65536,
    onProgress,
  });
  const last = seen.at(-1);
  const toSend = LARGE.data.byteLength + LARGE_LABELS.byteLength;
  deepEqual(last, {
    sent: toSend,
    toSend,
    received: grad.data.byteLength + 4,
    toReceive: grad.data.byteLength + 4,
  });
  ok(seen.length > 16);
  for (const [index, { sent, received }] of seen.entries()) {
    const before = seen[index - 1];
    ok(before === undefined || (sent >= before.sent && received >= before.received));
  }
  const thrown = new Error('enough');
  const call = client.crossEntropy(LARGE, LARGE_LABELS, {
    transport: 'stream',
    onProgress: () => {
      throw thrown;
    },
  });
  equal(await call.catch((error: unknown) => error), thrown);
});

test('arrays without elements', async () => {
  await using client = connect(server.tcp);
  const input = { data: new Float32Array(0), shape: [0, 3] };
  for (const transport of ['unary', 'stream'] as const) {
    const options = { transport, grad: true, logSumExp: true } as const;
    const mean = await client.crossEntropy(input, new Int32Array(0), options);
    ok(Number.isNaN(mean.value));
    deepEqual([mean.grad.shape, mean.grad.data.length, mean.logSumExp.shape], [[0, 3], 0, [0]]);
    equal((await client.crossEntropy(input, new Int32Array(0), { ...options, emptyMean: 'zero' })).value, 0);
    const none = await client.crossEntropy(input, new Int32Array(0), { ...options, reduction: 'none' });
    equal(none.loss.data.length, 0);
    await fails(() => none.value, { code: 'FAILED_PRECONDITION', field: 'loss' });
    const scaled = await client.crossEntropy(input, new Int32Array(0), { ...options, gradOutput: 2 });
    equal(scaled.grad.data.length, 0);
    const soft = await client.crossEntropy(input, { data: new Float32Array(0), shape: [0, 3] }, options);
    ok(Number.isNaN(soft.value));
  }
});

test('a stream that reads nothing does not fill memory', async () => {
  await using fake = await FakeServer.start({ evaluateStream: () => undefined });
  await using client = connect(fake.address);
  let sent = 0;
  const huge = { data: new Float32Array(16 << 20), shape: [16, 1 << 20] };
  const call = client.crossEntropy(huge, new Uint8Array(16), {
    transport: 'stream',
    timeoutMs: 1500,
    onProgress: (progress) => (sent = progress.sent),
  });
  await fails(() => call, { code: 'DEADLINE_EXCEEDED' });
  ok(sent < 16 << 20, `${String(sent)} bytes were sent to a server that takes none`);
});

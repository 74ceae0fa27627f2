// Many problems over one stream.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';

import type { ServerDuplexStream } from '@grpc/grpc-js';
import { LossdClient } from '@lossd/client';
import { EvaluateManyResponse, Status, type EvaluateManyRequest } from '@lossd/client/v1';

import { FakeServer, LABELS, LOGITS, fails, noise, statusOf } from './fakes.mjs';
import { Server } from './server.mjs';

type ManyCall = ServerDuplexStream<EvaluateManyRequest, EvaluateManyResponse>;

let server: Server;
before(async () => {
  server = await Server.start(['--idle-stream', '0.3']);
});
after(() => server.stop());

function connect(address = server.tcp): LossdClient {
  return new LossdClient({ address, timeoutMs: 30_000 });
}

/** A handler that refuses every problem, with the problem's id as the position. */
function refuse(stream: ManyCall, { id }: EvaluateManyRequest): void {
  const error = statusOf(
    3,
    `request.target[${String(id)}]: no`,
    `request.target[${String(id)}]`,
    'LABEL_OUT_OF_RANGE',
  );
  stream.write(EvaluateManyResponse.create({ id, result: { $case: 'error', value: error } }));
}

test('a thousand problems at once, each with its own answer or its own error', async () => {
  await using client = connect();
  await using many = client.many();
  const data = noise(3000);
  const problems = Array.from({ length: 1000 }, (_, index) => ({
    input: { data: data.subarray(3 * index, 3 * index + 3), shape: [1, 3] },
    // Every tenth label is beyond the classes.
    label: Uint8Array.of(index % 10 === 7 ? 9 : index % 3),
  }));
  const settled = await Promise.allSettled(
    problems.map(({ input, label }) => many.crossEntropy(input, label, { grad: true })),
  );
  for (const [index, outcome] of settled.entries()) {
    const { input, label } = problems[index]!;
    if (index % 10 === 7) {
      ok(outcome.status === 'rejected');
      await fails(() => Promise.reject(outcome.reason as Error), {
        code: 'INVALID_ARGUMENT',
        field: 'target[0]',
        reason: 'LABEL_OUT_OF_RANGE',
      });
    } else if (index % 100 === 0) {
      ok(outcome.status === 'fulfilled');
      const alone = await client.crossEntropy(input, label, { grad: true });
      deepEqual([outcome.value.value, outcome.value.grad], [alone.value, alone.grad]);
    } else {
      ok(outcome.status === 'fulfilled');
    }
  }
});

test('at most 256 wait for their answers', async () => {
  const held: EvaluateManyRequest[] = [];
  let most = 0;
  let stream: ManyCall | undefined;
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      stream = call;
      call.on('data', (request: EvaluateManyRequest) => {
        held.push(request);
        most = Math.max(most, held.length);
      });
      call.on('end', () => {
        call.end();
      });
    },
  });
  await using client = connect(fake.address);
  await using many = client.many();
  const all = Array.from({ length: 600 }, () =>
    fails(() => many.crossEntropy(LOGITS, LABELS), { reason: 'LABEL_OUT_OF_RANGE' }),
  );
  await sleep(300);
  equal(held.length, 256);
  // The last one first: answers come in any order.
  while (held.length > 0) {
    refuse(stream!, held.pop()!);
    await sleep(0);
  }
  await Promise.all(all);
  equal(most, 256);
});

test('a stream that the server ended for want of traffic is opened again', async () => {
  await using client = connect();
  await using many = client.many();
  const { value } = await many.crossEntropy(LOGITS, LABELS);
  await sleep(800);
  equal((await many.crossEntropy(LOGITS, LABELS)).value, value);
});

test('problems of a stream that breaks are sent again, in all four times', async () => {
  let streams = 0;
  let broken = 3;
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      const last = ++streams > broken;
      call.on('data', (request: EvaluateManyRequest) => {
        if (last) refuse(call, request);
        else call.emit('error', { code: 14, details: 'Socket closed' });
      });
      call.on('end', () => {
        call.end();
      });
    },
  });
  await using client = connect(fake.address);
  await using many = client.many();
  const call = (code: 'INVALID_ARGUMENT' | 'UNAVAILABLE') =>
    fails(() => many.crossEntropy(LOGITS, LABELS), { code });
  await Promise.all([call('INVALID_ARGUMENT'), call('INVALID_ARGUMENT')]);
  ok(streams >= 4);
  broken = Infinity;
  streams = 0;
  await many.close();
  await using again = client.many();
  await fails(() => again.crossEntropy(LOGITS, LABELS), { code: 'UNAVAILABLE' });
  equal(streams, 4);
});

test('a problem that the server asks to repeat is sent again after the delay', async () => {
  const times: number[] = [];
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      call.on('data', (request: EvaluateManyRequest) => {
        times.push(performance.now());
        const value = statusOf(8, 'request.input: no room', 'request.input', 'MEMORY_BUSY', 200);
        if (times.length > 1) refuse(call, request);
        else call.write(EvaluateManyResponse.create({ id: request.id, result: { $case: 'error', value } }));
      });
      call.on('end', () => {
        call.end();
      });
    },
  });
  await using client = connect(fake.address);
  await using many = client.many();
  await fails(() => many.crossEntropy(LOGITS, LABELS), { reason: 'LABEL_OUT_OF_RANGE', field: 'target[2]' });
  ok(times.length === 2 && times[1]! - times[0]! >= 199);
});

test('a problem ends by its own deadline and signal; the others go on', async () => {
  let stream: ManyCall | undefined;
  const held: EvaluateManyRequest[] = [];
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      stream = call;
      call.on('data', (request: EvaluateManyRequest) => held.push(request));
    },
  });
  await using client = connect(fake.address);
  const many = client.many();
  const controller = new AbortController();
  const { signal } = controller;
  const late = fails(() => many.crossEntropy(LOGITS, LABELS, { timeoutMs: 100 }), {
    code: 'DEADLINE_EXCEEDED',
  });
  const aborted = fails(() => many.crossEntropy(LOGITS, LABELS, { signal }), { code: 'CANCELLED' });
  const answered = fails(() => many.crossEntropy(LOGITS, LABELS), {
    code: 'INVALID_ARGUMENT',
    field: 'target[3]',
  });
  await late;
  controller.abort();
  await aborted;
  // Their answers come all the same.
  for (const request of held) refuse(stream!, request);
  await answered;
  equal(held.length, 3);
  // A server that answers nothing any more does not hold up the end.
  await fails(() => many.crossEntropy(LOGITS, LABELS, { timeoutMs: 50 }), { code: 'DEADLINE_EXCEEDED' });
  await many.close();
});

test('close waits for what was started, and refuses what comes after', async () => {
  await using client = connect();
  const many = client.many();
  const started = Array.from({ length: 300 }, () => many.nllLoss(LOGITS, LABELS));
  let settled = 0;
  for (const one of started) void one.then(() => settled++);
  await many.close();
  equal(settled, 300);
  await many.close();
  await fails(() => many.nllLoss(LOGITS, LABELS), { code: 'FAILED_PRECONDITION' }, /closed/);
  await client.many().close();
});

test('an answer that is none, and ids that nobody asked for', async () => {
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      call.on('data', ({ id }: EvaluateManyRequest) => {
        call.write(
          EvaluateManyResponse.create({ id: id + 1000n, result: { $case: 'error', value: Status.create() } }),
        );
        call.write(EvaluateManyResponse.create({ id }));
      });
      call.on('end', () => {
        call.end();
      });
    },
  });
  await using client = connect(fake.address);
  await using many = client.many();
  await fails(() => many.crossEntropy(LOGITS, LABELS), { code: 'INTERNAL' }, /loss is missing/);
});

test('a large problem goes by a stream of its own', async () => {
  await using client = connect();
  await using many = client.many();
  const input = { data: noise(1 << 20), shape: [1 << 10, 1 << 10] };
  const labels = new Uint8Array(1 << 10);
  const [large, small] = await Promise.all([
    many.crossEntropy(input, labels),
    many.crossEntropy(LOGITS, LABELS),
  ]);
  equal(large.value, (await client.crossEntropy(input, labels, { transport: 'stream' })).value);
  equal(small.positions, 2);
});

// Many problems over one stream.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';

import { LossdClient } from '@lossd/client';
import { EvaluateManyResponse, type EvaluateManyRequest } from '@lossd/client/v1';

import {
  FakeServer,
  LABELS,
  LOGITS,
  fails,
  noise,
  refuse,
  statusOf,
  until,
  type ManyCall,
} from './fakes.mjs';
import { Server } from './server.mjs';

let server: Server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

function connect(address = server.tcp): LossdClient {
  return new LossdClient({ address, timeoutMs: 100_000 });
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
  await until(() => held.length === 256);
  await sleep(100);
  equal(held.length, 256);
  // The last one first: answers come in any order.
  for (let request = held.pop(); request !== undefined; request = held.pop()) {
    refuse(stream!, request);
    await sleep(0);
  }
  await Promise.all(all);
  equal(most, 256);
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

// Ends of pipelines and of their problems.
import { equal } from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';

import { LossdClient } from '@lossd/client';
import { EvaluateManyResponse, Status, type EvaluateManyRequest } from '@lossd/client/v1';

import {
  FakeServer,
  LABELS,
  LOGITS,
  fails,
  grpcError,
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

test('a stream that the server ended for want of traffic is opened again', async () => {
  const hasty = await Server.start(['--idle-stream', '0.3']);
  await using client = connect(hasty.tcp);
  const many = client.many();
  const { value } = await many.crossEntropy(LOGITS, LABELS);
  await sleep(800);
  equal((await many.crossEntropy(LOGITS, LABELS)).value, value);
  await many.close();
  await hasty.stop();
});

test('a problem that came too late for a stream without traffic goes over another', async () => {
  let streams = 0;
  const idle = statusOf(4, 'stream: no byte', 'stream', 'IDLE_STREAM');
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      const first = ++streams === 1;
      call.on('data', (request: EvaluateManyRequest) => {
        if (first) call.emit('error', grpcError(idle));
        else refuse(call, request);
      });
      call.on('end', () => {
        call.end();
      });
    },
  });
  await using client = connect(fake.address);
  await using many = client.many();
  await fails(() => many.crossEntropy(LOGITS, LABELS), { code: 'INVALID_ARGUMENT', field: 'target[2]' });
  equal(streams, 2);
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
  await until(() => held.length === 3);
  for (const request of held) refuse(stream!, request);
  await answered;
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

test('a server that does not end the stream does not hold up its client', async () => {
  await using fake = await FakeServer.start({
    evaluateMany: (call: ManyCall) => {
      call.on('data', (request: EvaluateManyRequest) => {
        refuse(call, request);
      });
    },
  });
  await using client = connect(fake.address);
  const many = client.many();
  await fails(() => many.crossEntropy(LOGITS, LABELS), { code: 'INVALID_ARGUMENT' });
  await many.close();
});

// Servers that are not there, not lossd's, silent, busy or gone in the middle; and calls that are ended.
import { equal, ok } from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, test } from 'node:test';

import { LossdClient } from '@lossd/client';

import { FakeServer, LABELS, LOGITS, TcpFake, fails, milliseconds } from './fakes.mjs';
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

for (const way of WAYS) {
  test(`nobody listens, ${way}`, async () => {
    await using client = new LossdClient({ address: '127.0.0.1:1' });
    const took = await milliseconds(() =>
      fails(() => call(client, way), { code: 'UNAVAILABLE' }, /127\.0\.0\.1:1/),
    );
    // Four attempts, after some 50, 150 and 450 ms.
    ok(took > 500 && took < 5000, `${String(took)} ms`);
    const hurried = await milliseconds(() => fails(() => call(client, way, { timeoutMs: 100 }), {}));
    ok(hurried < 500, `${String(hurried)} ms`);
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
    ok(took < 4000, `${String(took)} ms`);
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
    await using client = new LossdClient({ address: first.tcp, timeoutMs: 100_000 });
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

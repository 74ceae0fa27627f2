// Options of calls and of clients that are refused, and summaries.
import { equal, match } from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { LossdClient, type CrossEntropyOptions, type LossdClientOptions } from '@lossd/client';

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

test('options that are no object, a transport and a chunk that are none', async () => {
  const call = (options: unknown) => () =>
    client.crossEntropy(LOGITS, LABELS, options as CrossEntropyOptions);
  await fails(call(5), { code: 'INVALID_ARGUMENT', field: 'options' });
  await fails(call({ transport: 'udp' }), { code: 'INVALID_ARGUMENT', field: 'transport' });
  await fails(call({ chunkBytes: 0 }), {
    code: 'INVALID_ARGUMENT',
    field: 'chunkBytes',
    reason: 'VALUE_RANGE',
  });
  await fails(() => client.many().crossEntropy(LOGITS, LABELS, { transport: 'unary' } as never), {
    field: 'transport',
  });
});

test('calls without a problem know their options too', async () => {
  await fails(() => client.info({ timeout: 5 } as never), { code: 'INVALID_ARGUMENT', field: 'timeout' });
  await fails(() => client.combine([], { grad: true } as never), { code: 'INVALID_ARGUMENT', field: 'grad' });
  await fails(() => client.info({ timeoutMs: 0 }), { code: 'DEADLINE_EXCEEDED' });
  await fails(() => client.combine([], { signal: AbortSignal.abort() }), { code: 'CANCELLED' });
});

test('the numbers of a message are data', async () => {
  const error = await fails(() => client.crossEntropy(LOGITS, Int32Array.of(2, 9)), {
    reason: 'LABEL_OUT_OF_RANGE',
  });
  const { position, value, classes } = error.metadata;
  equal(`${String(position)} ${String(value)} ${String(classes)}`, '1 9 3');
});

test('summaries that cannot be merged, or are none', async () => {
  const mean = await client.crossEntropy(LOGITS, LABELS);
  const sum = await client.crossEntropy(LOGITS, LABELS, { reduction: 'sum' });
  const error = await fails(() => client.combine([mean, sum]), {
    code: 'INVALID_ARGUMENT',
    reason: 'SUMMARY_MISMATCH',
  });
  match(error.field ?? '', /^summaries\[1\]/);
  await fails(() => client.combine([]), {
    code: 'INVALID_ARGUMENT',
    field: 'summaries',
    reason: 'FIELD_MISSING',
  });
  await fails(() => client.combine(mean as never), { code: 'INVALID_ARGUMENT', field: 'summaries' });
  await fails(() => client.combine([mean, 5 as never]), { code: 'INVALID_ARGUMENT', field: 'summaries[1]' });
});

test('options of a client', async () => {
  const make = (options: unknown) => () => new LossdClient(options as LossdClientOptions);
  const pem = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  const cases: readonly [unknown, string][] = [
    [undefined, 'options'],
    ['127.0.0.1:50051', 'options'],
    [{}, 'address'],
    [{ address: '' }, 'address'],
    [{ address: 'a b' }, 'address'],
    [{ address: '127.0.0.1:1', timeout: 5 }, 'timeout'],
    [{ address: '127.0.0.1:1', timeoutMs: NaN }, 'timeoutMs'],
    [{ address: '127.0.0.1:1', token: 'secret' }, 'token'],
    [{ address: 'unix:/nowhere', token: 'with space' }, 'token'],
    [{ address: '127.0.0.1:1', tls: 'yes' }, 'tls'],
    [{ address: '127.0.0.1:1', tls: { rootCertificates: 'no PEM' } }, 'tls.rootCertificates'],
    [{ address: '127.0.0.1:1', tls: { clientKey: pem } }, 'tls.clientKey'],
    [{ address: '127.0.0.1:1', tls: { rootCertificates: pem } }, 'tls.rootCertificates'],
    [{ address: '127.0.0.1:1', tls: { clientCertificate: 5 } }, 'tls.clientCertificate'],
  ];
  for (const [options, field] of cases) await fails(make(options), { code: 'INVALID_ARGUMENT', field });
  const refused = await fails(make({ address: 'unix:/nowhere', token: 'secret value' }), { field: 'token' });
  equal(refused.message.includes('secret'), false);
});

// Exact sums, and what is made of them.
import { deepEqual, equal, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { LossResult, LossdClient, Sums, tensor } from '@lossd/client';
import { Summary } from '@lossd/client/v1';

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

test('shards of a batch give the loss of the whole', async () => {
  const whole = await client.crossEntropy(LOGITS, LABELS, { weight: Float32Array.of(0.3, 1, 0.7) });
  const parts = await Promise.all(
    [0, 1].map((row) => {
      const input = { data: LOGITS.data.subarray(3 * row, 3 * row + 3), shape: [1, 3] };
      return client.crossEntropy(input, LABELS.subarray(row, row + 1), {
        weight: Float32Array.of(0.3, 1, 0.7),
      });
    }),
  );
  const combined = await client.combine([...parts]);
  equal(combined.loss, whole.value);
  deepEqual(
    [combined.normalizer, combined.lossSum, combined.positions],
    [whole.normalizer, whole.lossSum, 2],
  );
  equal((await client.combine(parts.map(({ summary }) => summary))).loss, whole.value);
  const none = await client.crossEntropy(LOGITS, LABELS, { reduction: 'none' });
  equal((await client.combine([none])).loss, undefined);
  const double = await client.crossEntropy(
    tensor(
      [
        [1, 2, 3],
        [1, 0, 0],
      ],
      'float64',
    ),
    LABELS,
  );
  equal((await client.combine([double])).loss, double.value);
  ok(whole instanceof LossResult && whole instanceof Sums && combined instanceof Sums);
});

test('fields of a later server stay in a summary', async () => {
  const { summary } = await client.crossEntropy(LOGITS, LABELS);
  // Field 77, a number: as a message of a later version would hold it.
  const later = Summary.decode(
    Buffer.concat([Summary.encode(summary).finish(), Buffer.from([0xe8, 0x04, 1])]),
  );
  // This server refuses what it does not know, and would say nothing about a field that was dropped.
  await fails(() => client.combine([later]), { code: 'INVALID_ARGUMENT', reason: 'FIELD_UNKNOWN' });
});

test('sums are rounded once', () => {
  const sum = (units: bigint, more: object = {}, dtype = 2): number => {
    const length = Math.ceil((units.toString(2).length + 1) / 8);
    const bytes = Buffer.from(
      BigInt.asUintN(8 * length, units)
        .toString(16)
        .padStart(2 * length, '0'),
      'hex',
    ).reverse();
    return new Sums(Summary.create({ dtype, lossSum: { units: bytes, ...more } })).lossSum;
  };
  const one = 2n ** 1074n;
  equal(sum(0n), 0);
  equal(sum(1n), 2 ** -1074);
  equal(sum(-3n), -3 * 2 ** -1074);
  equal(sum(one), 1);
  equal(sum(-one * 255n), -255);
  // Half a unit in the last place: to even; a trifle more: up.
  equal(sum(one + 2n ** 1021n), 1);
  equal(sum(one + 2n ** 1021n + 1n), 1 + 2 ** -52);
  equal(sum(one + 3n * 2n ** 1021n), 1 + 2 ** -51);
  equal(sum(one * (2n ** 1024n - 2n ** 971n)), Number.MAX_VALUE);
  equal(sum(one * 2n ** 1024n), Infinity);
  equal(sum(-one * 2n ** 1030n), -Infinity);
  equal(sum(2n ** 149n, {}, 1), 1);
  equal(sum(1n, {}, 1), 2 ** -149);
  ok(Number.isNaN(sum(1n, { nanCount: 1n })));
  ok(Number.isNaN(sum(1n, { positiveInfinityCount: 1n, negativeInfinityCount: 2n })));
  equal(sum(1n, { positiveInfinityCount: 1n }), Infinity);
  equal(sum(1n, { negativeInfinityCount: 1n }), -Infinity);
  equal(new Sums(Summary.create()).normalizer, 0);
});

// The tasks of the client's README, one after the other.
//   LOSSD_ADDRESS=127.0.0.1:50051 node examples/tasks.mjs
import { readFileSync } from 'node:fs';

import { LossdClient, LossdError, tensor, toFloat32 } from '@lossd/client';

const address = process.env.LOSSD_ADDRESS ?? '127.0.0.1:50051';

const client = new LossdClient({ address, timeoutMs: 60_000 });

async function gradient() {
  const logits = { data: Float32Array.of(1, 2, 3, 1, 0, 0), shape: [2, 3] };
  const labels = Uint8Array.of(2, 0);
  const { value, grad, correct } = await client.crossEntropy(logits, labels, {
    labelSmoothing: 0.1,
    weight: Float32Array.of(1, 1, 2),
    grad: true,
  });
  console.log(value, grad.data, grad.shape, correct);

  const none = await client.nllLoss(logits, labels, { reduction: 'none' });
  console.log(none.loss.data); // one loss for each position
}

async function large() {
  const logits = { data: new Float32Array(64 * 50_000), shape: [64, 50_000] };
  const labels = new Uint16Array(64);
  const { value } = await client.crossEntropy(logits, labels, {
    grad: true,
    onProgress: ({ sent, toSend, received, toReceive }) => {
      const share = (sent + received) / (toSend + toReceive);
      process.stdout.write(`\r${share.toFixed(2)}`);
    },
  });
  console.log('\nlarge', value);
}

async function small() {
  const problems = Array.from({ length: 1000 }, (_, index) => ({
    logits: tensor([[index, 1, 2]]),
    labels: Uint8Array.of(index % 3),
  }));
  const many = client.many();
  const results = await Promise.allSettled(
    problems.map(({ logits, labels }) => many.crossEntropy(logits, labels, { grad: true })),
  );
  await many.close();
  console.log(results.filter(({ status }) => status === 'fulfilled').length);
}

async function ended() {
  const logits = tensor([[1, 2, 3]]);
  const labels = Uint8Array.of(2);
  const controller = new AbortController();
  const result = client.crossEntropy(logits, labels, { signal: controller.signal, timeoutMs: 5000 });
  controller.abort(new Error('not wanted any more'));
  await result.catch((/** @type {unknown} */ error) => {
    if (error instanceof LossdError) console.log(error.code, error.cause); // CANCELLED, and the signal's reason
  });
}

async function wrong() {
  const logits = tensor([[1, 2, 3], [1, 0, 0]]); // prettier-ignore
  try {
    await client.crossEntropy(logits, Int32Array.of(2, 7));
  } catch (error) {
    if (!(error instanceof LossdError)) throw error;
    console.log(error.code); // INVALID_ARGUMENT
    console.log(error.field); // target[1]
    console.log(error.reason); // LABEL_OUT_OF_RANGE
    console.log(error.metadata); // { position: '1', value: '7', classes: '3' }
    console.log(error.retryAfterMs); // undefined: the same call would fail again
    console.log(error.message); // target[1]: expected a class in [0, 3) or ignore_index -100, got 7
  }
}

async function halves() {
  const logits = tensor([[1, 2, 3], [1, 0, 0]], 'bfloat16'); // prettier-ignore
  const { grad } = await client.crossEntropy(logits, Uint8Array.of(2, 0), { grad: true });
  console.log(grad.data); // a Uint16Array of the bits
  console.log(toFloat32(grad)); // their values
}

async function shards() {
  const parts = [
    await client.crossEntropy(tensor([[1, 2, 3]]), Uint8Array.of(2)),
    await client.crossEntropy(tensor([[1, 0, 0]]), Uint8Array.of(0)),
  ];
  const { loss, positions } = await client.combine(parts);
  console.log(loss, positions); // the bits of one call for both
}

/** @param {{ certificates: string, key: string, chain: string, token: string }} files */
function secure(files) {
  return new LossdClient({
    address: 'loss.example:443',
    tls: {
      rootCertificates: readFileSync(files.certificates), // left out: those that Node trusts
      clientCertificate: readFileSync(files.chain), // where the server wants to know its clients
      clientKey: readFileSync(files.key),
    },
    token: readFileSync(files.token, 'utf8').trim(), // sent as "authorization: Bearer ..."
  });
}

const { version, limits } = await client.info();
console.log(version, limits.maxMessageBytes);
for (const task of [gradient, large, small, ended, wrong, halves, shards]) await task();
console.log(typeof secure);
client.close();

// The worked example of the repository's README: the loss of two positions and its gradient.
//   LOSSD_ADDRESS=127.0.0.1:50051 node examples/worked.mjs
import { LossdClient } from '@lossd/client';

const address = process.env.LOSSD_ADDRESS ?? '127.0.0.1:50051';

const client = new LossdClient({ address });
const logits = { data: Float32Array.of(-1.1011, 0.6231, 0.2384, -0.3223), shape: [2, 2] };
const result = await client.crossEntropy(logits, Int32Array.of(0, 1), { grad: true });
console.log('loss', result.value);
console.log('gradient', result.grad.data);
client.close();

// The messages of EvaluateStream, and how large messages may be.
import { EvaluateStreamRequest } from './gen/lossd/v1/service.js';
import type { Problem } from './problem.js';

export const CHUNK_BYTES = 1 << 20;

// Every server takes messages of this size: its flag goes no lower.
const SMALLEST_LIMIT = 1 << 16;

// Room in a message for all that is not data: tags, lengths, and a header without its weight.
const OVERHEAD = 1 << 12;

/** Data of this size fits a message of every server. A class weight of this size goes in the header. */
export const ALWAYS_FITS = SMALLEST_LIMIT - OVERHEAD;

/** How much data fits a message of a server with this limit (0: unknown). */
export function mostData(maxMessageBytes: number): number {
  return Math.max(maxMessageBytes - OVERHEAD, ALWAYS_FITS);
}

/**
 * The messages of one problem, in an order that every server accepts: the header, a large weight,
 * class indices, then the input with the companions that go along with it in step.
 * @param chunkBytes - data in a message, all tensors together. Rounding adds a few bytes.
 */
export function* messages(problem: Problem, chunkBytes: number): Generator<EvaluateStreamRequest, void> {
  const { weight, target } = problem;
  const inside = weight === undefined || weight.bytes.length <= ALWAYS_FITS;
  yield { ...NOTHING, header: problem.header(inside) };
  if (!inside) {
    for (const piece of pieces(weight.bytes, chunkBytes)) yield { ...NOTHING, weight: piece };
  }
  if (problem.hasLabels) {
    for (const piece of pieces(target.bytes, chunkBytes)) yield { ...NOTHING, target: piece };
  }
  yield* inStep(problem, chunkBytes);
}

/** Bytes of data in a message. */
export function dataBytes({ weight, target, gradOutput, input }: EvaluateStreamRequest): number {
  return weight.length + target.length + gradOutput.length + input.length;
}

const NOTHING = EvaluateStreamRequest.create();
const EMPTY = new Uint8Array(0);

/** The input, and beside each piece of it the same share of its companions. */
function* inStep(problem: Problem, chunkBytes: number): Generator<EvaluateStreamRequest, void> {
  const input = problem.input.bytes;
  const target = new Companion(problem.hasLabels ? EMPTY : problem.target.bytes);
  const gradOutput = new Companion(problem.gradOutput?.bytes ?? EMPTY);
  const total = Math.max(1, input.length + target.length + gradOutput.length);
  const step = Math.max(1, Math.floor((chunkBytes * input.length) / total));
  // An input without elements: its companions go all the same.
  for (let begin = 0; begin < Math.max(1, input.length); begin += step) {
    const end = Math.min(begin + step, input.length);
    yield {
      ...NOTHING,
      input: input.subarray(begin, end),
      target: target.upTo(end, input.length),
      gradOutput: gradOutput.upTo(end, input.length),
    };
  }
}

/** A tensor that is sent in step with the input. */
class Companion {
  #sent = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get length(): number {
    return this.bytes.length;
  }

  /** The next bytes, as far as the input has come. A scalar goes at once. */
  upTo(end: number, whole: number): Uint8Array {
    const { bytes } = this;
    const all = bytes.length <= 8 || end === whole;
    const stop = all ? bytes.length : Math.floor((bytes.length / whole) * end);
    const piece = bytes.subarray(this.#sent, stop);
    this.#sent = Math.max(this.#sent, stop);
    return piece;
  }
}

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array, void> {
  for (let begin = 0; begin < bytes.length; begin += size) yield bytes.subarray(begin, begin + size);
}

// Answers of a server, measured against the question before they are believed.
import { Reduction, Summary } from './gen/lossd/v1/criterion.js';
import type { CombineResponse, EvaluateResponse, EvaluateStreamResponse } from './gen/lossd/v1/service.js';
import type { Tensor as WireTensor } from './gen/lossd/v1/tensor.js';
import { dtypeOf } from './dtypes.js';
import { shapeText, unexpected } from './errors.js';
import type { OutputName, Problem } from './problem.js';
import { Combined, LossResult } from './result.js';
import { Output, type ResultTensor, type Spec } from './tensor.js';

const OUTPUTS = ['loss', 'logSumExp', 'gradWeight', 'gradTarget', 'gradInput'] as const;

/**
 * The result of a problem that went as one message.
 * @throws LossdError with code INTERNAL where an output is missing or of another type, shape or length.
 */
export function fromResponse(response: EvaluateResponse, problem: Problem): LossResult {
  const tensors = new Map<OutputName, ResultTensor>();
  for (const [name, spec] of problem.wanted()) tensors.set(name, fromTensor(response[name], spec, name));
  return new LossResult(tensors, checkedSummary(response.summary, problem));
}

/** Tensors of known shape that fill up as replies of a stream come. */
export class StreamOutputs {
  readonly #outputs: ReadonlyMap<OutputName, { output: Output; filled: number }>;
  #summary: Summary | undefined;
  /** Bytes of all outputs. */
  readonly byteLength: number;
  /** Bytes that have come. */
  received = 0;

  constructor(private readonly problem: Problem) {
    const outputs = [...problem.wanted()].map(
      ([name, spec]) => [name, { output: new Output(spec), filled: 0 }] as const,
    );
    this.#outputs = new Map(outputs);
    this.byteLength = outputs.reduce((sum, [, { output }]) => sum + output.bytes.length, 0);
  }

  /**
   * Copies the bytes of a reply to their places.
   * @throws LossdError with code INTERNAL where an output was not asked for, or is longer than it can
   * be; or where the last reply came already.
   */
  take(reply: EvaluateStreamResponse): void {
    if (this.#summary !== undefined) throw unexpected('something follows the summary');
    for (const name of OUTPUTS) {
      const piece = reply[name];
      if (piece.length === 0) continue;
      const place = this.#outputs.get(name);
      const end = (place?.filled ?? 0) + piece.length;
      const room = place?.output.bytes.length ?? 0;
      if (place === undefined || end > room) {
        throw unexpected(`${name} has at least ${String(end)} bytes, expected ${String(room)}`);
      }
      place.output.bytes.set(piece, place.filled);
      place.filled = end;
      this.received += piece.length;
    }
    this.#summary = reply.summary;
  }

  /**
   * The result, once the call has ended with OK.
   * @throws LossdError with code INTERNAL where something is missing.
   */
  result(): LossResult {
    const tensors = new Map<OutputName, ResultTensor>();
    for (const [name, { output, filled }] of this.#outputs) {
      const { length } = output.bytes;
      if (filled !== length)
        throw unexpected(`${name} is cut short: ${String(filled)} bytes, expected ${String(length)}`);
      tensors.set(name, output.tensor());
    }
    return new LossResult(tensors, checkedSummary(this.#summary, this.problem));
  }
}

/**
 * The answer of Combine.
 * @throws LossdError with code INTERNAL where it has no summary, or a loss that is no number.
 */
export function fromCombined({ summary, loss }: CombineResponse): Combined {
  if (summary === undefined) throw unexpected('summary is missing');
  if (loss === undefined) {
    if (summary.criterion?.reduction === Reduction.REDUCTION_NONE) return new Combined(summary, undefined);
    throw unexpected('loss is missing');
  }
  const { data } = loss;
  const values = data?.$case === 'floatValues' || data?.$case === 'doubleValues' ? data.value.values : [];
  if (values.length !== 1) throw unexpected(`loss has ${String(values.length)} values, expected 1`);
  return new Combined(summary, values[0]);
}

function fromTensor(tensor: WireTensor | undefined, spec: Spec, name: OutputName): ResultTensor {
  if (tensor === undefined) throw unexpected(`${name} is missing`);
  const dtype = dtypeOf(tensor.dtype);
  const shape = tensor.shape.map(Number);
  if (dtype !== spec.dtype || shapeText(shape) !== shapeText(spec.shape)) {
    const got = `${dtype ?? 'of no known type'} of shape ${shapeText(shape)}`;
    throw unexpected(`${name} is ${got}, expected ${spec.dtype} of shape ${shapeText(spec.shape)}`);
  }
  // A tensor without elements need not have data.
  const raw = tensor.data?.$case === 'raw' ? tensor.data.value : new Uint8Array(0);
  const output = new Output(spec);
  if (raw.length !== output.bytes.length) {
    throw unexpected(`${name} has ${String(raw.length)} bytes, expected ${String(output.bytes.length)}`);
  }
  output.bytes.set(raw);
  return output.tensor();
}

function checkedSummary(summary: Summary | undefined, problem: Problem): Summary {
  if (summary === undefined) throw unexpected('summary is missing');
  const positions = problem.positions.reduce((product, size) => product * size, 1);
  if (Number(summary.positions) !== positions) {
    throw unexpected(`summary.positions is ${String(summary.positions)}, expected ${String(positions)}`);
  }
  const dtype = dtypeOf(summary.dtype);
  if (dtype !== problem.input.dtype) {
    throw unexpected(`summary.dtype is ${dtype ?? 'not known'}, expected ${problem.input.dtype}`);
  }
  return detached(summary);
}

/** A copy, whose bytes are its own: those of a reply are views that would keep the whole message alive. */
function detached(summary: Summary): Summary {
  return Summary.decode(Summary.encode(summary).finish());
}

// The options of calls: their types, and as messages.
import { CrossEntropy, Criterion, EmptyMean, NllLoss, Outputs, Reduction } from './gen/lossd/v1/criterion.js';
import type { FloatArray } from './dtypes.js';
import { describe, invalid } from './errors.js';
import type { TensorLike } from './tensor.js';

/** How long a call may take, and how it is ended. */
export interface CallOptions {
  /** Ends the call: it rejects with code CANCELLED, and the signal's reason as its cause. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for the whole call, in place of the client's; Infinity for no limit. */
  timeoutMs?: number | undefined;
}

/** Options of nll_loss, as torch.nn.NLLLoss has them, and which results are wanted. */
export interface NllLossOptions extends CallOptions {
  /** A weight for each class: shape (C), of the input's dtype, or float32 beside halves. */
  weight?: TensorLike<FloatArray> | undefined;
  /** A label whose positions neither count nor get a gradient; any int64. Default -100. */
  ignoreIndex?: number | bigint | undefined;
  /** Default `mean`. */
  reduction?: 'none' | 'sum' | 'mean' | undefined;
  /** Axis of the input that holds the classes, negative from the end. Default 1, or 0 where there is one. */
  classAxis?: number | undefined;
  /** Also give the gradient of the input. */
  grad?: boolean | undefined;
  /** Also give the gradient of the class weights. */
  gradWeight?: boolean | undefined;
  /** Also give log(sum(exp(input))) of each position. */
  logSumExp?: boolean | undefined;
  /** Incoming gradient: of the loss's shape and the input's dtype (or float32 beside halves), or a number. */
  gradOutput?: TensorLike<FloatArray> | number | undefined;
  /** Above 0: also count the positions whose class is among the k greatest logits. */
  topK?: number | undefined;
  /** The mean where no position counts. Default `nan`. */
  emptyMean?: 'nan' | 'zero' | undefined;
  /** Divides in place of the sum of weights under `mean`; finite and not 0. */
  normalizer?: number | undefined;
}

/** Options of cross_entropy, as torch.nn.CrossEntropyLoss has them, and which results are wanted. */
export interface CrossEntropyOptions extends NllLossOptions {
  /** Share of the target mass that is spread evenly over all classes, in [0, 1]. Default 0. */
  labelSmoothing?: number | undefined;
  /** Also give the gradient of a probability target. */
  gradTarget?: boolean | undefined;
}

/** How far a stream is; bytes of all tensors together. They begin at 0 again where it is sent again. */
export interface Progress {
  sent: number;
  toSend: number;
  received: number;
  toReceive: number;
}

/** How a problem travels. */
export interface TransportOptions {
  /** By size (default), in one message, or as a stream. */
  transport?: 'auto' | 'unary' | 'stream' | undefined;
  /** Bytes of data in one message of a stream; default 1 MiB, cut to what the server takes. */
  chunkBytes?: number | undefined;
  /** Called as a stream goes on. An error that it throws ends the call. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** A loss: the name of its field in lossd.v1.Criterion. */
export type LossKind = 'crossEntropy' | 'nllLoss';

const NLL_NAMES = [
  ...['signal', 'timeoutMs', 'weight', 'ignoreIndex', 'reduction', 'classAxis', 'grad', 'gradWeight'],
  ...['logSumExp', 'gradOutput', 'topK', 'emptyMean', 'normalizer'],
];
const NAMES: Record<LossKind, readonly string[]> = {
  nllLoss: NLL_NAMES,
  crossEntropy: [...NLL_NAMES, 'labelSmoothing', 'gradTarget'],
};
export const TRANSPORT_NAMES = ['transport', 'chunkBytes', 'onProgress'] as const;

const REDUCTIONS = {
  none: Reduction.REDUCTION_NONE,
  sum: Reduction.REDUCTION_SUM,
  mean: Reduction.REDUCTION_MEAN,
};
const EMPTY_MEANS = { nan: EmptyMean.EMPTY_MEAN_NAN, zero: EmptyMean.EMPTY_MEAN_ZERO };

/** Refuses what is no object, and names that no option of the loss has. */
export function checkNames(kind: LossKind, options: unknown, more: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw invalid('options', undefined, `expected an object, got ${describe(options)}`);
  }
  refuseUnknown(options, [...NAMES[kind], ...more]);
}

/**
 * Refuses names that no option has: one that is ignored silently gives another loss, or no gradient.
 * @throws LossdError with code INVALID_ARGUMENT.
 */
export function refuseUnknown(options: object, known: readonly string[]): void {
  const name = Object.keys(options).find((key) => !known.includes(key));
  if (name === undefined) return;
  throw invalid(name, 'FIELD_UNKNOWN', `no option of this call; expected ${known.join(', ')}`);
}

/** The loss and its options, without the weight. Their ranges are the server's to check. */
export function criterionOf(kind: LossKind, options: CrossEntropyOptions): Criterion {
  const own = {
    ignoreIndex: int64(options.ignoreIndex, 'ignoreIndex'),
    // 1 is the protocol's own default, which knows inputs of one dimension.
    classAxis: options.classAxis === 1 ? undefined : options.classAxis,
  };
  const smoothing = number(options.labelSmoothing, 'labelSmoothing') ?? 0;
  return Criterion.create({
    kind:
      kind === 'crossEntropy'
        ? { $case: kind, value: CrossEntropy.create({ ...own, labelSmoothing: smoothing }) }
        : { $case: kind, value: NllLoss.create(own) },
    reduction: choice(REDUCTIONS, options.reduction ?? 'mean', 'reduction'),
    emptyMean: choice(EMPTY_MEANS, options.emptyMean ?? 'nan', 'emptyMean'),
    normalizer: number(options.normalizer, 'normalizer'),
  });
}

/** The wanted results. */
export function outputsOf(options: CrossEntropyOptions): Outputs {
  return Outputs.create({
    gradInput: flag(options.grad, 'grad'),
    gradTarget: flag(options.gradTarget, 'gradTarget'),
    gradWeight: flag(options.gradWeight, 'gradWeight'),
    logSumExp: flag(options.logSumExp, 'logSumExp'),
    topK: integer(options.topK ?? 0, 'topK', 0, 2 ** 32 - 1),
  });
}

/** A whole number in a range. */
export function integer(value: unknown, name: string, least: number, most: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most)
    return value;
  const range = `[${String(least)}, ${String(most)}]`;
  throw invalid(name, 'VALUE_RANGE', `expected a whole number in ${range}, got ${describe(value)}`);
}

/** One of some words, as what it stands for. */
export function choice<T>(choices: Readonly<Record<string, T>>, value: unknown, name: string): T {
  if (typeof value === 'string' && Object.hasOwn(choices, value)) return choices[value] as T;
  const words = Object.keys(choices).map((word) => `'${word}'`);
  throw invalid(name, undefined, `expected ${words.join(', ')}; got ${describe(value)}`);
}

function number(value: unknown, name: string): number | undefined {
  if (value === undefined || typeof value === 'number') return value;
  throw invalid(name, undefined, `expected a number, got ${describe(value)}`);
}

function flag(value: unknown, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  throw invalid(name, undefined, `expected true or false, got ${describe(value)}`);
}

function int64(value: unknown, name: string): bigint | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  throw invalid(
    name,
    'VALUE_RANGE',
    `expected a whole number or a bigint in [-2^63, 2^63 - 1], got ${describe(value)}`,
  );
}

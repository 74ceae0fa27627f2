// The results of calls.
import type { Summary } from './gen/lossd/v1/criterion.js';
import { DataType } from './gen/lossd/v1/tensor.js';
import type { FloatArray, TensorArray } from './dtypes.js';
import { LossdError } from './errors.js';
import type { OutputName } from './problem.js';
import { toNumber } from './sums.js';
import type { ResultTensor } from './tensor.js';

/** Losses are float64 for float64 inputs, else float32. */
export type LossArray = Float32Array | Float64Array;

/** A result that is there for certain where the options say `NAME: true` in so many words. */
export type Wanted<O, Name extends string, T> = O extends Readonly<Record<Name, true>> ? T : T | undefined;

/** The array of a gradient: of the class of the one that it belongs to, but never a Buffer. */
export type ResultArray<A extends TensorArray> = A extends Uint8Array ? Uint8Array : A;

/** What the positions of a problem, or of several, add up to. */
export class Sums {
  /** The exact sums, for `client.combine`. */
  readonly summary: Summary;

  constructor(summary: Summary) {
    this.summary = summary;
  }

  /** Number of positions, ignored ones included. */
  get positions(): number {
    return Number(this.summary.positions);
  }

  /** Number of ignored positions. */
  get ignored(): number {
    return Number(this.summary.ignored);
  }

  /** Positions whose class has the greatest logit. */
  get correct(): number {
    return Number(this.summary.correct);
  }

  /** Positions whose class is among the topK greatest logits. */
  get correctTopK(): number {
    return Number(this.summary.correctTopK);
  }

  /**
   * The natural divisor of the mean, whatever the reduction: the sum of the weights of the positions
   * that count, or for a probability target the number of positions. Summed exactly, rounded once.
   */
  get normalizer(): number {
    return toNumber(this.summary.normalizer, this.#dtype);
  }

  /** The sum of the losses of all positions, whatever the reduction. Summed exactly, rounded once. */
  get lossSum(): number {
    return toNumber(this.summary.lossSum, this.#dtype);
  }

  get #dtype(): 'float32' | 'float64' {
    return this.summary.dtype === DataType.DATA_TYPE_FLOAT64 ? 'float64' : 'float32';
  }
}

/**
 * The results of one problem. Arrays of gradients are of the class of the array that they belong to.
 * @typeParam Input - array of the input.
 * @typeParam Target - array of the target.
 * @typeParam Options - of the call.
 */
export class LossResult<
  Input extends TensorArray = FloatArray,
  Target extends TensorArray = TensorArray,
  Options = object,
> extends Sums {
  /** Shape [], or one loss for each position with reduction `none`. */
  readonly loss: ResultTensor<LossArray>;
  /** Gradient of the input, of its shape and dtype. */
  readonly grad: Wanted<Options, 'grad', ResultTensor<ResultArray<Input>>>;
  /** Gradient of a probability target, of its shape and dtype. */
  readonly gradTarget: Wanted<Options, 'gradTarget', ResultTensor<ResultArray<Target>>>;
  /** Gradient of the class weights, of their shape and dtype. */
  readonly gradWeight: Wanted<Options, 'gradWeight', ResultTensor<FloatArray>>;
  /** log(sum(exp(input))) of each position, of the loss's dtype. */
  readonly logSumExp: Wanted<Options, 'logSumExp', ResultTensor<LossArray>>;

  constructor(tensors: ReadonlyMap<OutputName, ResultTensor>, summary: Summary) {
    super(summary);
    // The replies were measured against the problem: each tensor is there that was asked for.
    this.loss = tensors.get('loss') as this['loss'];
    this.grad = tensors.get('gradInput') as this['grad'];
    this.gradTarget = tensors.get('gradTarget') as this['gradTarget'];
    this.gradWeight = tensors.get('gradWeight') as this['gradWeight'];
    this.logSumExp = tensors.get('logSumExp') as this['logSumExp'];
  }

  /**
   * The loss as a number.
   * @throws LossdError with code FAILED_PRECONDITION where there is not exactly one.
   */
  get value(): number {
    const [value] = this.loss.data;
    if (value === undefined || this.loss.data.length !== 1) {
      const words = `loss: expected one value, got ${String(this.loss.data.length)}; see loss.data`;
      throw new LossdError(words, { code: 'FAILED_PRECONDITION', field: 'loss' });
    }
    return value;
  }
}

/** The merged summary of shards, and the loss over all of them. */
export class Combined extends Sums {
  /** The reduced loss; undefined with reduction `none`. */
  readonly loss: number | undefined;

  constructor(summary: Summary, loss: number | undefined) {
    super(summary);
    this.loss = loss;
  }
}

import type { Exactly } from './client.js';
import type { FloatArray, TensorArray } from './dtypes.js';
import { LossdError } from './errors.js';
import type { CrossEntropyOptions, LossKind, NllLossOptions } from './options.js';
import type { LossResult } from './result.js';
import type { TensorLike } from './tensor.js';

/** How a client evaluates problems over a pipeline. */
export interface ManyBackend {
  evaluate(kind: LossKind, input: unknown, target: unknown, options: unknown): Promise<LossResult>;
  finish(): Promise<void>;
}

/**
 * Many small problems over one stream: several times as many a second as with calls of their own.
 * Start all of them, or some hundreds at a time, and await their promises; each settles by itself, and
 * one that fails disturbs no other. Problems too large for a message travel by themselves.
 */
export class LossdMany {
  readonly #backend: ManyBackend;
  readonly #underWay = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  /** Made by LossdClient.many(). */
  constructor(backend: ManyBackend) {
    this.#backend = backend;
  }

  /** As LossdClient.crossEntropy. */
  crossEntropy<
    Input extends FloatArray,
    Target extends TensorArray,
    Options extends CrossEntropyOptions = object,
  >(
    input: TensorLike<Input>,
    target: TensorLike<Target>,
    options?: Exactly<Options, CrossEntropyOptions>,
  ): Promise<LossResult<Input, Target, Options>> {
    return this.#evaluate('crossEntropy', input, target, options) as Promise<
      LossResult<Input, Target, Options>
    >;
  }

  /** As LossdClient.nllLoss. */
  nllLoss<Input extends FloatArray, Target extends TensorArray, Options extends NllLossOptions = object>(
    input: TensorLike<Input>,
    target: TensorLike<Target>,
    options?: Exactly<Options, NllLossOptions>,
  ): Promise<LossResult<Input, Target, Options>> {
    return this.#evaluate('nllLoss', input, target, options) as Promise<LossResult<Input, Target, Options>>;
  }

  /** Waits for what was started, and ends the stream. Problems after it reject with FAILED_PRECONDITION. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#underWay).then(() => this.#backend.finish());
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #evaluate(kind: LossKind, input: unknown, target: unknown, options: unknown): Promise<LossResult> {
    if (this.#closed !== undefined)
      throw new LossdError('this stream was closed', { code: 'FAILED_PRECONDITION' });
    const result = this.#backend.evaluate(kind, input, target, options);
    this.#underWay.add(result);
    try {
      return await result;
    } finally {
      this.#underWay.delete(result);
    }
  }
}

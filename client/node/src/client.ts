// The client: one call for a loss, over one message or a stream.
import { endianness } from 'node:os';

import { Connection } from './connection.js';
import type { ConnectionOptions } from './credentials.js';
import { checkedTimeout, Deadline } from './deadline.js';
import type { FloatArray, TensorArray } from './dtypes.js';
import { describe, invalid, LossdError } from './errors.js';
import { Evaluator } from './evaluator.js';
import type { Summary } from './gen/lossd/v1/criterion.js';
import type { CombineRequest } from './gen/lossd/v1/service.js';
import type { ServerInfo } from './info.js';
import { LossdMany } from './many.js';
import { COMBINE } from './methods.js';
import { refuseUnknown } from './options.js';
import type { CallOptions, CrossEntropyOptions, NllLossOptions, TransportOptions } from './options.js';
import { Pipeline } from './pipeline.js';
import { fromCombined } from './replies.js';
import { Sums, type Combined, type LossResult } from './result.js';
import { retrying } from './retry.js';
import type { TensorLike } from './tensor.js';

/** Options of a client. */
export interface LossdClientOptions extends ConnectionOptions {
  /** Milliseconds that a call may take; default Infinity, no limit. */
  timeoutMs?: number | undefined;
}

/** Options that are those of `Known` and no others. */
export type Exactly<Options, Known> = Known &
  Options &
  Readonly<Record<Exclude<keyof Options, keyof Known>, never>>;

/** Options of a call that evaluates one problem. */
export type EvaluateOptions<Options> = Options & TransportOptions;

const CALL_NAMES = ['signal', 'timeoutMs'];

/** A connection to a lossd server. Any number of calls may be under way. */
export class LossdClient {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #evaluator: Evaluator;

  /**
   * Connects when the first call is made.
   * @throws LossdError with code INVALID_ARGUMENT; its field is an option's name.
   */
  constructor(options: LossdClientOptions) {
    if (typeof options !== 'object' || (options as unknown) === null) {
      throw invalid('options', undefined, `expected { address }, got ${describe(options)}`);
    }
    refuseUnknown(options, ['address', 'tls', 'token', 'timeoutMs']);
    // The wire is little-endian, and tensors go there as they lie in memory.
    if (endianness() !== 'LE') {
      throw new LossdError('this client needs a little-endian machine', { code: 'UNIMPLEMENTED' });
    }
    this.#timeoutMs = options.timeoutMs === undefined ? Infinity : checkedTimeout(options.timeoutMs);
    this.#connection = new Connection(options);
    this.#evaluator = new Evaluator(this.#connection, this.#timeoutMs);
  }

  /**
   * Evaluates torch.nn.functional.cross_entropy(input, target, ...).
   * @param input - logits [C], [N, C] or [N, C, d1, ..., dK]; float32, float64, float16 or bfloat16.
   * @param target - class indices of any integer dtype, of the input's shape without its class axis; or
   * probabilities of the input's shape, and of its dtype or float32 beside halves.
   * @throws LossdError: INVALID_ARGUMENT where the problem is not valid, with its field; any other code
   * where the call failed.
   */
  crossEntropy<
    Input extends FloatArray,
    Target extends TensorArray,
    Options extends EvaluateOptions<CrossEntropyOptions> = object,
  >(
    input: TensorLike<Input>,
    target: TensorLike<Target>,
    options?: Exactly<Options, EvaluateOptions<CrossEntropyOptions>>,
  ): Promise<LossResult<Input, Target, Options>> {
    return this.#evaluator.alone('crossEntropy', input, target, options) as Promise<
      LossResult<Input, Target, Options>
    >;
  }

  /**
   * Evaluates torch.nn.functional.nll_loss(input, target, ...).
   * @param input - log-probabilities, taken as they are; shapes and dtypes as in crossEntropy.
   * @param target - class indices of any integer dtype, of the input's shape without its class axis.
   * @throws LossdError as crossEntropy does.
   */
  nllLoss<
    Input extends FloatArray,
    Target extends TensorArray,
    Options extends EvaluateOptions<NllLossOptions> = object,
  >(
    input: TensorLike<Input>,
    target: TensorLike<Target>,
    options?: Exactly<Options, EvaluateOptions<NllLossOptions>>,
  ): Promise<LossResult<Input, Target, Options>> {
    return this.#evaluator.alone('nllLoss', input, target, options) as Promise<
      LossResult<Input, Target, Options>
    >;
  }

  /**
   * Merges the summaries of shards of one batch, exactly and in any order.
   * @param parts - results, or their summaries; at least one.
   * @throws LossdError: INVALID_ARGUMENT where they are of problems that cannot be merged.
   */
  async combine(parts: Iterable<Sums | Summary>, options: CallOptions = {}): Promise<Combined> {
    refuseUnknown(options, CALL_NAMES);
    const deadline = new Deadline(options, this.#timeoutMs);
    // Not CombineRequest.create(), which drops fields that it does not know.
    const request: CombineRequest = { summaries: summariesOf(parts) };
    return fromCombined(await retrying(() => this.#connection.unary(COMBINE, request, deadline), deadline));
  }

  /** Version, instruction set and limits of the server. */
  async info(options: CallOptions = {}): Promise<ServerInfo> {
    refuseUnknown(options, CALL_NAMES);
    return this.#evaluator.info(new Deadline(options, this.#timeoutMs));
  }

  /** Opens a stream for many small problems. Close it when the last one is under way. */
  many(): LossdMany {
    const pipeline = new Pipeline(this.#connection);
    return new LossdMany({
      evaluate: (kind, input, target, options) =>
        this.#evaluator.together(pipeline, kind, input, target, options),
      finish: () => pipeline.finish(),
    });
  }

  /** Ends the connection. Calls in flight reject with CANCELLED, later ones with FAILED_PRECONDITION. */
  close(): void {
    this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}

function summariesOf(parts: unknown): Summary[] {
  if (typeof parts !== 'object' || parts === null || !(Symbol.iterator in parts)) {
    throw invalid('summaries', undefined, `expected several results or summaries, got ${describe(parts)}`);
  }
  return [...(parts as Iterable<unknown>)].map((part, index) => {
    if (part instanceof Sums) return part.summary;
    if (typeof part === 'object' && part !== null && 'positions' in part && 'lossSum' in part)
      return part as Summary;
    throw invalid(
      `summaries[${String(index)}]`,
      undefined,
      `expected a result or its summary, got ${describe(part)}`,
    );
  });
}

// The client: one call for a loss, over one message or a stream.
import { endianness } from 'node:os';

import { ALWAYS_FITS, CHUNK_BYTES, mostData } from './chunks.js';
import { Connection } from './connection.js';
import type { ConnectionOptions } from './credentials.js';
import { checkedTimeout, Deadline } from './deadline.js';
import type { FloatArray, TensorArray } from './dtypes.js';
import { describe, invalid, LossdError } from './errors.js';
import { CombineRequest, GetServerInfoRequest } from './gen/lossd/v1/service.js';
import type { Summary } from './gen/lossd/v1/criterion.js';
import { fromInfo, type ServerInfo } from './info.js';
import { COMBINE, EVALUATE, GET_SERVER_INFO } from './methods.js';
import { checkNames, choice, integer, TRANSPORT_NAMES } from './options.js';
import type { CallOptions, CrossEntropyOptions, LossKind, NllLossOptions, TransportOptions } from './options.js';
import { Problem } from './problem.js';
import { fromCombined, fromResponse } from './replies.js';
import { Sums, type Combined, type LossResult } from './result.js';
import { retrying } from './retry.js';
import { evaluateStream } from './stream.js';
import type { TensorLike } from './tensor.js';

/** Options of a client. */
export interface LossdClientOptions extends ConnectionOptions {
  /** Milliseconds that a call may take; default Infinity, no limit. */
  timeoutMs?: number | undefined;
}

/** Options that are those of `Known` and no others. */
export type Exactly<Options, Known> = Options & Readonly<Record<Exclude<keyof Options, keyof Known>, never>>;

/** Options of a call that evaluates one problem. */
export type EvaluateOptions<Options> = Options & TransportOptions;

// More than this goes by stream, where the transport is not chosen.
const UNARY_BYTES = 1 << 20;

// No server takes a message above this.
const LARGEST_LIMIT = 2 ** 30;

const TRANSPORTS = { auto: 'auto', unary: 'unary', stream: 'stream' } as const;

/** A connection to a lossd server. Any number of calls may be under way. */
export class LossdClient {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  #mostData: number | undefined;

  /**
   * Connects when the first call is made.
   * @throws LossdError with code INVALID_ARGUMENT; its field is an option's name.
   */
  constructor(options: LossdClientOptions) {
    if (typeof options !== 'object' || (options as unknown) === null) {
      throw invalid('options', undefined, `expected { address }, got ${describe(options)}`);
    }
    // The wire is little-endian, and tensors go there as they lie in memory.
    if (endianness() !== 'LE') {
      throw new LossdError('this client needs a little-endian machine', { code: 'UNIMPLEMENTED' });
    }
    this.#timeoutMs = options.timeoutMs === undefined ? Infinity : checkedTimeout(options.timeoutMs);
    this.#connection = new Connection(options);
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
    return this.#evaluate('crossEntropy', input, target, options) as Promise<LossResult<Input, Target, Options>>;
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
    return this.#evaluate('nllLoss', input, target, options) as Promise<LossResult<Input, Target, Options>>;
  }

  /**
   * Merges the summaries of shards of one batch, exactly and in any order.
   * @param parts - results, or their summaries; at least one.
   * @throws LossdError: INVALID_ARGUMENT where they are of problems that cannot be merged.
   */
  async combine(parts: Iterable<Sums | Summary>, options: CallOptions = {}): Promise<Combined> {
    const deadline = new Deadline(options, this.#timeoutMs);
    const request = CombineRequest.create({ summaries: summariesOf(parts) });
    return fromCombined(await retrying(() => this.#connection.unary(COMBINE, request, deadline), deadline));
  }

  /** Version, instruction set and limits of the server. */
  async info(options: CallOptions = {}): Promise<ServerInfo> {
    return this.#info(new Deadline(options, this.#timeoutMs));
  }

  /** Ends the connection. Calls in flight reject with CANCELLED, later ones with FAILED_PRECONDITION. */
  close(): void {
    this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  async #evaluate(kind: LossKind, input: unknown, target: unknown, given: unknown): Promise<LossResult> {
    checkNames(kind, given ?? {}, TRANSPORT_NAMES);
    const options = (given ?? {}) as EvaluateOptions<CrossEntropyOptions>;
    const deadline = new Deadline(options, this.#timeoutMs);
    const problem = new Problem(kind, input, target, options);
    const transport = choice(TRANSPORTS, options.transport ?? 'auto', 'transport');
    const chunkBytes = integer(options.chunkBytes ?? CHUNK_BYTES, 'chunkBytes', 1, Number.MAX_SAFE_INTEGER);
    try {
      if (await this.#goesByStream(problem, transport, deadline)) {
        return await this.#byStream(problem, { chunkBytes, onProgress: options.onProgress }, deadline);
      }
      const request = problem.request();
      const call = () => this.#connection.unary(EVALUATE, request, deadline);
      return fromResponse(await retrying(call, deadline), problem);
    } catch (error) {
      // A server with other limits may have taken this one's place.
      if (error instanceof LossdError && error.code === 'RESOURCE_EXHAUSTED') this.#mostData = undefined;
      throw error;
    }
  }

  async #goesByStream(problem: Problem, transport: keyof typeof TRANSPORTS, deadline: Deadline): Promise<boolean> {
    const size = problem.byteLength;
    if (transport === 'unary' && size > LARGEST_LIMIT) {
      const words = `input: ${String(size)} bytes with all that belongs to it, expected at most ${String(LARGEST_LIMIT)} for transport 'unary'`;
      throw new LossdError(words, { code: 'RESOURCE_EXHAUSTED', field: 'input', reason: 'LIMIT_EXCEEDED' });
    }
    if (transport !== 'auto') return transport === 'stream';
    if (size <= ALWAYS_FITS) return false;
    return size > Math.min(UNARY_BYTES, await this.#fitsMessage(deadline));
  }

  async #byStream(
    problem: Problem,
    options: { chunkBytes: number; onProgress: TransportOptions['onProgress'] },
    deadline: Deadline,
  ): Promise<LossResult> {
    let { chunkBytes } = options;
    if (Math.min(chunkBytes, problem.byteLength) > ALWAYS_FITS) {
      chunkBytes = Math.min(chunkBytes, await this.#fitsMessage(deadline));
    }
    const { onProgress } = options;
    return retrying(() => evaluateStream(this.#connection, problem, { chunkBytes, onProgress }, deadline), deadline);
  }

  /** How much data fits a message. The server is asked once. */
  async #fitsMessage(deadline: Deadline): Promise<number> {
    if (this.#mostData !== undefined) return this.#mostData;
    try {
      const { limits } = await this.#info(deadline);
      return mostData(limits.maxMessageBytes);
    } catch (error) {
      // A proxy that lets nothing but evaluations through.
      if (error instanceof LossdError && error.code === 'UNIMPLEMENTED') return ALWAYS_FITS;
      throw error;
    }
  }

  async #info(deadline: Deadline): Promise<ServerInfo> {
    const request = GetServerInfoRequest.create();
    const info = fromInfo(await retrying(() => this.#connection.unary(GET_SERVER_INFO, request, deadline), deadline));
    this.#mostData = mostData(info.limits.maxMessageBytes);
    return info;
  }
}

function summariesOf(parts: unknown): Summary[] {
  if (typeof parts !== 'object' || parts === null || !(Symbol.iterator in parts)) {
    throw invalid('summaries', undefined, `expected several results or summaries, got ${describe(parts)}`);
  }
  return [...(parts as Iterable<unknown>)].map((part, index) => {
    if (part instanceof Sums) return part.summary;
    if (typeof part === 'object' && part !== null && 'positions' in part && 'lossSum' in part) return part as Summary;
    throw invalid(`summaries[${String(index)}]`, undefined, `expected a result or its summary, got ${describe(part)}`);
  });
}

// Which way a problem goes: one message, a stream of its own, or a stream with others.
import { ALWAYS_FITS, CHUNK_BYTES, mostData } from './chunks.js';
import type { Connection } from './connection.js';
import { Deadline } from './deadline.js';
import { LossdError } from './errors.js';
import { GetServerInfoRequest } from './gen/lossd/v1/service.js';
import { fromInfo, type ServerInfo } from './info.js';
import { EVALUATE, GET_SERVER_INFO } from './methods.js';
import { checkNames, choice, integer, TRANSPORT_NAMES } from './options.js';
import type { CrossEntropyOptions, LossKind, TransportOptions } from './options.js';
import type { Pipeline } from './pipeline.js';
import { Problem } from './problem.js';
import { fromResponse } from './replies.js';
import type { LossResult } from './result.js';
import { retrying } from './retry.js';
import { evaluateStream, type StreamOptions } from './stream.js';

// More than this goes by stream, where the transport is not chosen.
const UNARY_BYTES = 1 << 20;

// No server takes a message above this.
const LARGEST_LIMIT = 2 ** 30;

const TRANSPORTS = { auto: 'auto', unary: 'unary', stream: 'stream' } as const;

/** Evaluates problems over a connection. Its methods reject with LossdErrors. */
export class Evaluator {
  #mostData: number | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly timeoutMs: number,
  ) {}

  /** Evaluates a problem by a call of its own, in the way that its options or its size ask for. */
  async alone(kind: LossKind, input: unknown, target: unknown, given: unknown): Promise<LossResult> {
    checkNames(kind, given ?? {}, TRANSPORT_NAMES);
    const options = (given ?? {}) as CrossEntropyOptions & TransportOptions;
    const deadline = new Deadline(options, this.timeoutMs);
    const problem = new Problem(kind, input, target, options);
    const transport = choice(TRANSPORTS, options.transport ?? 'auto', 'transport');
    const chunkBytes = integer(options.chunkBytes ?? CHUNK_BYTES, 'chunkBytes', 1, Number.MAX_SAFE_INTEGER);
    return this.#forgetting(async () => {
      if (await this.#goesByStream(problem, transport, deadline)) {
        return this.#byStream(problem, { chunkBytes, onProgress: options.onProgress }, deadline);
      }
      const request = problem.request();
      const call = () => this.connection.unary(EVALUATE, request, deadline);
      return fromResponse(await retrying(call, deadline), problem);
    });
  }

  /** Evaluates a problem over a pipeline, or by a stream of its own where it is large. */
  async together(
    pipeline: Pipeline,
    kind: LossKind,
    input: unknown,
    target: unknown,
    given: unknown,
  ): Promise<LossResult> {
    checkNames(kind, given ?? {}, []);
    const options = (given ?? {}) as CrossEntropyOptions;
    const deadline = new Deadline(options, this.timeoutMs);
    const problem = new Problem(kind, input, target, options);
    return this.#forgetting(async () => {
      if (await this.#goesByStream(problem, 'auto', deadline)) {
        return this.#byStream(problem, { chunkBytes: CHUNK_BYTES, onProgress: undefined }, deadline);
      }
      this.connection.check(deadline);
      return pipeline.evaluate(problem, deadline);
    });
  }

  /** Forgets the limits where one was passed: a server with others may have taken this one's place. */
  async #forgetting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof LossdError && error.code === 'RESOURCE_EXHAUSTED') this.#mostData = undefined;
      throw error;
    }
  }

  async #goesByStream(
    problem: Problem,
    transport: keyof typeof TRANSPORTS,
    deadline: Deadline,
  ): Promise<boolean> {
    const size = problem.byteLength;
    if (transport === 'unary' && size > LARGEST_LIMIT) {
      const words = `input: ${String(size)} bytes with all that belongs to it, expected at most ${String(LARGEST_LIMIT)} for transport 'unary'`;
      throw new LossdError(words, { code: 'RESOURCE_EXHAUSTED', field: 'input', reason: 'LIMIT_EXCEEDED' });
    }
    if (transport !== 'auto') return transport === 'stream';
    if (size <= ALWAYS_FITS) return false;
    return size > Math.min(UNARY_BYTES, await this.#fitsMessage(deadline));
  }

  async #byStream(problem: Problem, options: StreamOptions, deadline: Deadline): Promise<LossResult> {
    let { chunkBytes } = options;
    if (Math.min(chunkBytes, problem.byteLength) > ALWAYS_FITS) {
      chunkBytes = Math.min(chunkBytes, await this.#fitsMessage(deadline));
    }
    const cut = { ...options, chunkBytes };
    return retrying(() => evaluateStream(this.connection, problem, cut, deadline), deadline);
  }

  /** How much data fits a message. The server is asked once. */
  async #fitsMessage(deadline: Deadline): Promise<number> {
    if (this.#mostData !== undefined) return this.#mostData;
    try {
      const { limits } = await this.info(deadline);
      return mostData(limits.maxMessageBytes);
    } catch (error) {
      // A proxy that lets nothing but evaluations through.
      if (error instanceof LossdError && error.code === 'UNIMPLEMENTED') return ALWAYS_FITS;
      throw error;
    }
  }

  /** The server's description of itself, whose limits are kept. */
  async info(deadline: Deadline): Promise<ServerInfo> {
    const request = GetServerInfoRequest.create();
    const info = fromInfo(
      await retrying(() => this.connection.unary(GET_SERVER_INFO, request, deadline), deadline),
    );
    this.#mostData = mostData(info.limits.maxMessageBytes);
    return info;
  }
}

// Many small problems over one stream, EvaluateMany.
import type { Connection, Duplex } from './connection.js';
import { Deadline } from './deadline.js';
import { Entry } from './entry.js';
import { LossdError } from './errors.js';
import {
  EvaluateResponse,
  type EvaluateManyRequest,
  type EvaluateManyResponse,
} from './gen/lossd/v1/service.js';
import { EVALUATE_MANY } from './methods.js';
import type { Problem } from './problem.js';
import { fromResponse } from './replies.js';
import type { LossResult } from './result.js';
import { pauseMs } from './retry.js';
import { fromStatus } from './status.js';

// The server reads no more of a stream while so many of its requests wait for their answers.
const WINDOW = 256;

// How long a server may take to end a stream all of whose problems are settled.
const PATIENCE_MS = 1000;

// An answer that is none, for a server that sends neither results nor an error.
const NOTHING = EvaluateResponse.create();

type Call = Duplex<EvaluateManyRequest, EvaluateManyResponse>;

/**
 * The stream of a pipeline. It is opened by the first problem, and again after it has ended: the
 * server ends a stream without traffic. Problems that were not answered then are sent again, as calls
 * are.
 */
export class Pipeline {
  readonly #waiting = new Set<Entry>();
  readonly #sent = new Map<bigint, Entry>();
  #call: Call | undefined;
  #full = false;
  #lastId = 0n;

  constructor(private readonly connection: Connection) {}

  /**
   * Sends a problem once there is room for it.
   * @throws LossdError: that of the answer, or why there is none.
   */
  evaluate(problem: Problem, deadline: Deadline): Promise<LossResult> {
    const entry = new Entry(problem, deadline, (settled) => {
      this.#waiting.delete(settled);
    });
    this.#waiting.add(entry);
    this.#flush();
    return entry.result;
  }

  /** Ends the stream. Every problem must be settled. */
  async finish(): Promise<void> {
    const call = this.#call;
    if (call === undefined) return;
    await new Promise<void>((resolve) => {
      // A server that does not end the stream must not hold up its client.
      const timer = setTimeout(() => {
        call.stream.cancel();
      }, PATIENCE_MS);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      call.stream.once('end', done);
      call.stream.once('error', done);
      // Answers that nobody waits for any more are not worth waiting for.
      if (this.#sent.size > 0) call.stream.cancel();
      call.stream.end();
    });
  }

  #flush(): void {
    for (const entry of this.#waiting) {
      if (this.#full || this.#sent.size >= WINDOW) return;
      this.#waiting.delete(entry);
      try {
        this.#send(entry);
      } catch (error) {
        entry.reject(error);
      }
    }
  }

  #send(entry: Entry): void {
    const { stream } = (this.#call ??= this.#open());
    const id = ++this.#lastId;
    entry.attempts++;
    this.#sent.set(id, entry);
    this.#full = !stream.write({ id, request: entry.problem.request() });
  }

  #open(): Call {
    const call = this.connection.duplex(EVALUATE_MANY, new Deadline({}, Infinity));
    const { stream } = call;
    stream.on('data', (reply: EvaluateManyResponse) => {
      this.#answer(reply);
    });
    stream.on('drain', () => {
      if (this.#call !== call) return;
      this.#full = false;
      this.#flush();
    });
    stream.on('error', (error: Error) => {
      this.#ended(call, call.failed(error));
    });
    stream.on('end', () => {
      call.ended();
      this.#ended(call, new LossdError('the server ended the stream', { code: 'UNAVAILABLE' }));
    });
    return call;
  }

  #answer({ id, result }: EvaluateManyResponse): void {
    const entry = this.#sent.get(id);
    this.#sent.delete(id);
    if (entry !== undefined && !entry.settled) {
      if (result?.$case === 'error') {
        this.#failed(entry, fromStatus(result.value));
      } else {
        try {
          entry.resolve(fromResponse(result?.value ?? NOTHING, entry.problem));
        } catch (error) {
          entry.reject(error);
        }
      }
    }
    this.#flush();
  }

  /** What was sent over this stream gets no answer any more. */
  #ended(call: Call, error: LossdError): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    this.#full = false;
    const lost = [...this.#sent.values()];
    this.#sent.clear();
    for (const entry of lost) this.#failed(entry, error);
    this.#flush();
  }

  /** Sends a problem again after a pause, or rejects it. */
  #failed(entry: Entry, error: LossdError): void {
    if (entry.settled) return;
    // A stream without traffic is ended by the server: this problem came too late for it, no more.
    const pause = error.reason === 'IDLE_STREAM' && entry.attempts < 2 ? 0 : pauseMs(error, entry.attempts);
    if (pause === undefined || pause >= entry.deadline.leftMs) {
      entry.reject(error);
      return;
    }
    setTimeout(() => {
      if (entry.settled) return;
      this.#waiting.add(entry);
      this.#flush();
    }, pause);
  }
}

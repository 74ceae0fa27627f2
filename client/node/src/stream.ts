// One problem over EvaluateStream.
import { dataBytes, messages } from './chunks.js';
import type { Connection, Duplex } from './connection.js';
import type { Deadline } from './deadline.js';
import type { EvaluateStreamRequest, EvaluateStreamResponse } from './gen/lossd/v1/service.js';
import { EVALUATE_STREAM } from './methods.js';
import type { Progress } from './options.js';
import type { Problem } from './problem.js';
import { StreamOutputs } from './replies.js';
import type { LossResult } from './result.js';

/** How a problem is sent. */
export interface StreamOptions {
  /** Data in a message, all tensors together. */
  readonly chunkBytes: number;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/**
 * Sends a problem in pieces and gathers its results while it does so. Nothing is sent ahead of the
 * server's window but what gRPC's stream holds: 16 messages, still views of the caller's memory.
 * @throws LossdError, or what onProgress throws.
 */
export function evaluateStream(
  connection: Connection,
  problem: Problem,
  options: StreamOptions,
  deadline: Deadline,
): Promise<LossResult> {
  return new Promise((resolve, reject) => {
    const outputs = new StreamOutputs(problem);
    const call = connection.duplex(EVALUATE_STREAM, deadline);
    new StreamCall(call, problem, outputs, options, resolve, reject).start();
  });
}

/** A call under way. It settles once, whatever comes after. */
class StreamCall {
  readonly #requests: Iterator<EvaluateStreamRequest, void>;
  #sent = 0;
  #over = false;

  constructor(
    private readonly call: Duplex<EvaluateStreamRequest, EvaluateStreamResponse>,
    private readonly problem: Problem,
    private readonly outputs: StreamOutputs,
    private readonly options: StreamOptions,
    private readonly resolve: (result: LossResult) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.#requests = messages(problem, options.chunkBytes);
  }

  start(): void {
    const { call, outputs } = this;
    call.stream.on('data', (reply: EvaluateStreamResponse) => {
      this.#guarded(() => {
        outputs.take(reply);
        this.#report();
      });
    });
    // A call that fails says so before it ends.
    call.stream.on('error', (error: Error) => {
      const failed = call.failed(error);
      if (this.#settled()) this.reject(failed);
    });
    call.stream.on('end', () => {
      this.#guarded(() => {
        const result = outputs.result();
        call.ended();
        if (this.#settled()) this.resolve(result);
      });
    });
    this.#pump();
  }

  /** Writes until the stream holds enough, and goes on when it has drained. */
  #pump(): void {
    while (!this.#over) {
      const { done, value } = this.#requests.next();
      if (done === true) {
        this.call.stream.end();
        return;
      }
      const bytes = dataBytes(value);
      const flows = this.call.stream.write(value, () => {
        this.#guarded(() => {
          this.#sent += bytes;
          this.#report();
        });
      });
      if (!flows) {
        this.call.stream.once('drain', () => {
          this.#pump();
        });
        return;
      }
    }
  }

  #report(): void {
    this.options.onProgress?.({
      sent: this.#sent,
      toSend: this.problem.byteLength,
      received: this.outputs.received,
      toReceive: this.outputs.byteLength,
    });
  }

  /** Does a part of the work; where that fails, the call does. */
  #guarded(work: () => void): void {
    if (this.#over) return;
    try {
      work();
    } catch (error) {
      if (!this.#settled()) return;
      this.call.ended();
      this.call.stream.cancel();
      this.reject(error);
    }
  }

  /** Ends the work. False where it had ended. */
  #settled(): boolean {
    const first = !this.#over;
    this.#over = true;
    return first;
  }
}

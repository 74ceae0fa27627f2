import type { Deadline } from './deadline.js';
import { aborted, late } from './errors.js';
import type { Problem } from './problem.js';
import type { LossResult } from './result.js';

/** A problem of a pipeline, and the promise of its result. */
export class Entry {
  readonly result: Promise<LossResult>;
  /** How often it was sent. */
  attempts = 0;
  #settle: { resolve: (result: LossResult) => void; reject: (error: unknown) => void } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onAbort: (() => void) | undefined;

  /** @param onSettled - called once the promise is settled, whoever did it. */
  constructor(
    readonly problem: Problem,
    readonly deadline: Deadline,
    private readonly onSettled: (entry: Entry) => void,
  ) {
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    const { signal, leftMs } = deadline;
    if (leftMs !== Infinity) {
      this.#timer = setTimeout(() => {
        this.reject(late());
      }, leftMs);
    }
    if (signal !== undefined) {
      this.#onAbort = () => {
        this.reject(aborted(signal));
      };
      signal.addEventListener('abort', this.#onAbort);
    }
  }

  /** Whether the promise is settled: its deadline came, or its signal, before the answer did. */
  get settled(): boolean {
    return this.#settle === undefined;
  }

  resolve(result: LossResult): void {
    const settle = this.#settle;
    this.#release();
    settle?.resolve(result);
  }

  reject(error: unknown): void {
    const settle = this.#settle;
    this.#release();
    settle?.reject(error);
  }

  #release(): void {
    if (this.#settle === undefined) return;
    this.#settle = undefined;
    clearTimeout(this.#timer);
    if (this.#onAbort !== undefined) this.deadline.signal?.removeEventListener('abort', this.#onAbort);
    this.onSettled(this);
  }
}

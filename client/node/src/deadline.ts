import { aborted, describe, invalid, late } from './errors.js';
import type { CallOptions } from './options.js';

// Timers go no further. 24 days are as good as no limit.
const LONGEST_MS = 2 ** 31 - 1;

/** When a call has to be over, and whether its caller still wants it. */
export class Deadline {
  readonly signal: AbortSignal | undefined;
  readonly #end: number;

  /**
   * @param options - of the call.
   * @param clientMs - the client's own limit.
   * @throws LossdError with code INVALID_ARGUMENT.
   */
  constructor(options: CallOptions, clientMs: number) {
    const { signal } = options;
    // Not instanceof: signals of other realms and polyfills serve as well.
    if (
      signal !== undefined &&
      typeof (signal as Partial<AbortSignal> | null)?.addEventListener !== 'function'
    ) {
      throw invalid('signal', undefined, `expected an AbortSignal, got ${describe(signal)}`);
    }
    this.signal = signal;
    const limit = options.timeoutMs === undefined ? clientMs : checkedTimeout(options.timeoutMs);
    this.#end = performance.now() + limit;
  }

  /** Milliseconds that are left; Infinity where there is no limit. */
  get leftMs(): number {
    const left = this.#end - performance.now();
    return left > LONGEST_MS ? Infinity : left;
  }

  /** @throws LossdError with code DEADLINE_EXCEEDED or CANCELLED where the call must not go on. */
  check(): void {
    if (this.signal?.aborted === true) throw aborted(this.signal);
    if (this.leftMs <= 0) throw late();
  }

  /**
   * Waits, and no longer than the call may.
   * @throws LossdError as check() does.
   */
  async sleep(ms: number): Promise<void> {
    const { signal } = this;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, this.leftMs, LONGEST_MS));
      if (signal?.aborted === true) done();
      signal?.addEventListener('abort', done);
    });
    this.check();
  }
}

/**
 * A limit in milliseconds.
 * @throws LossdError with code INVALID_ARGUMENT.
 */
export function checkedTimeout(value: unknown): number {
  if (typeof value === 'number' && value >= 0) return value;
  throw invalid('timeoutMs', undefined, `expected milliseconds, at least 0; got ${describe(value)}`);
}

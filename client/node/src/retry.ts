import type { Deadline } from './deadline.js';
import { LossdError } from './errors.js';

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 50;
const GROWTH = 3;

/**
 * How long to wait before a call is made again, or undefined where it should not be: no call has an
 * effect, so those may be repeated that did not reach the server, and those that it asks to repeat.
 * The pauses are some 50, 150 and 450 ms, a fifth more or less: clients that lost one server do not
 * all come back at once. A pause that the server names is kept where it is longer.
 * @param attempts - how many were made.
 */
export function pauseMs(error: unknown, attempts: number): number | undefined {
  if (!(error instanceof LossdError) || attempts >= ATTEMPTS) return undefined;
  const asked = error.retryAfterMs;
  if (error.code !== 'UNAVAILABLE' && asked === undefined) return undefined;
  const pause = FIRST_PAUSE_MS * GROWTH ** (attempts - 1) * (0.8 + 0.4 * Math.random());
  return Math.max(pause, asked ?? 0);
}

/**
 * Makes a call until it succeeds or must not be repeated, at most four times.
 * @throws LossdError, that of the last attempt.
 */
export async function retrying<T>(attempt: () => Promise<T>, deadline: Deadline): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    deadline.check();
    try {
      return await attempt();
    } catch (error) {
      const pause = pauseMs(error, attempts);
      // The error itself says more than a timeout after it would.
      if (pause === undefined || pause >= deadline.leftMs) throw error;
      await deadline.sleep(pause);
    }
  }
}

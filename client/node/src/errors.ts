/** The names of gRPC's status codes. */
export type ErrorCode =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

/** All that a LossdError says beside its message. */
export interface ErrorDetails {
  code: ErrorCode;
  field?: string | undefined;
  reason?: string | undefined;
  retryAfterMs?: number | undefined;
  metadata?: Readonly<Record<string, string>> | undefined;
  cause?: unknown;
}

/** A call that failed, or could not be made. Every rejection of this package is one. */
export class LossdError extends Error {
  override readonly name = 'LossdError';
  /**
   * The status code. INVALID_ARGUMENT: an argument or the problem is not valid. RESOURCE_EXHAUSTED: a
   * limit was passed, or the server is busy. UNAVAILABLE: the server cannot be reached.
   * UNIMPLEMENTED: another service answers at this address. INTERNAL also where the answer does not
   * fit the question, FAILED_PRECONDITION also after close().
   */
  readonly code: ErrorCode;
  /** The argument at fault, such as `target[17]`, `weight.shape` or `labelSmoothing`. */
  readonly field: string | undefined;
  /** A stable word, such as `LABEL_OUT_OF_RANGE`: docs/errors.md lists them. */
  readonly reason: string | undefined;
  /** Milliseconds after which the call may succeed, where the server named a delay. */
  readonly retryAfterMs: number | undefined;
  /** The numbers of the message in decimal, such as `{ position: '17', value: '9', classes: '3' }`. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.field = details.field;
    this.reason = details.reason;
    this.retryAfterMs = details.retryAfterMs;
    this.metadata = details.metadata ?? {};
  }
}

/** The error for an argument of a wrong kind or value. */
export function invalid(field: string, reason: string | undefined, words: string): LossdError {
  return new LossdError(`${field}: ${words}`, { code: 'INVALID_ARGUMENT', field, reason });
}

/** The error for an answer that does not fit the question. */
export function unexpected(words: string): LossdError {
  return new LossdError(`the server's answer is not one to this call: ${words}`, { code: 'INTERNAL' });
}

/** The error for a call whose time is over before an answer came. */
export function late(cause?: unknown): LossdError {
  return new LossdError('the call took longer than its timeout', { code: 'DEADLINE_EXCEEDED', cause });
}

/** The error for a call that its AbortSignal ended; the cause is the signal's reason. */
export function aborted(signal: AbortSignal): LossdError {
  return new LossdError('the call was aborted', { code: 'CANCELLED', cause: signal.reason as unknown });
}

/** The error for a call on a client that was closed. */
export function closed(cause?: unknown): LossdError {
  const code = cause === undefined ? 'FAILED_PRECONDITION' : 'CANCELLED';
  return new LossdError('the client was closed', { code, cause });
}

/** A short form of a value for messages. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return value.length <= 40 ? JSON.stringify(value) : 'a long string';
  if (typeof value === 'bigint') return `${String(value)}n`;
  if (value === null || typeof value !== 'object')
    return typeof value === 'function' ? 'a function' : String(value);
  if (Array.isArray(value) && value.length <= 8 && value.every((item) => typeof item === 'number')) {
    return shapeText(value);
  }
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === 'string' && name !== '' ? `a value of type ${name}` : 'an object';
}

/** A shape as it stands in messages. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

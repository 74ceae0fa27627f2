// From the status of a failed call to the error that the caller sees.
import { status as codes, type ServiceError } from '@grpc/grpc-js';

import { BadRequest, ErrorInfo, RetryInfo } from './gen/google/rpc/error_details.js';
import { Status } from './gen/google/rpc/status.js';
import { LossdError, type ErrorCode, type ErrorDetails } from './errors.js';

const DETAILS_KEY = 'grpc-status-details-bin';

// From the server's paths to the arguments of this package.
const OWNERS = /^(?:request\.|header\.)?(?:criterion\.(?:cross_entropy\.|nll_loss\.)?|outputs\.)?/;

const NOT_LOSSD = '; is it a lossd server that answers at this address?';
const BY_STREAM = "; transport: 'stream' sends a problem in pieces";

/** The error for a call that gRPC ended with something other than OK. */
export function fromServiceError(error: ServiceError, address: string): LossdError {
  const code = codeName(error.code);
  const details = readDetails(error);
  if (details.reason !== undefined || details.field !== undefined) {
    return withDetails(code, error.details, details, error);
  }
  let words = error.details === '' ? 'no message' : error.details;
  if (code === 'UNIMPLEMENTED') words += NOT_LOSSD;
  if (code === 'RESOURCE_EXHAUSTED' && words.includes('larger than max')) words += BY_STREAM;
  return new LossdError(`${words} (${code} at ${address})`, { ...details, code, cause: error });
}

/** The error for a problem that EvaluateMany answered with a status. */
export function fromStatus(status: Status): LossdError {
  return withDetails(codeName(status.code), status.message, unpack(status), status);
}

/** The argument that a path of the protocol stands for: `criterion.reduction` is `reduction`. */
export function argumentName(path: string): string {
  const name = path.replace(OWNERS, '');
  if (name === 'grad_input') return 'grad';
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

type Found = Omit<ErrorDetails, 'code' | 'cause'>;

function withDetails(code: ErrorCode, message: string, found: Found, cause: unknown): LossdError {
  const path = found.field;
  if (path === undefined) return new LossdError(message, { ...found, code, cause });
  const field = argumentName(path);
  const words = message.startsWith(`${path}: `) ? field + message.slice(path.length) : message;
  return new LossdError(words, { ...found, code, field, cause });
}

function codeName(code: number): ErrorCode {
  // A server may send any number.
  return (codes[code] as ErrorCode | undefined) ?? 'UNKNOWN';
}

/** The details among trailing metadata; none where they cannot be read: proxies put anything there. */
function readDetails(error: ServiceError): Found {
  // An error of gRPC's own need not have metadata, whatever its type says.
  const metadata = error.metadata as ServiceError['metadata'] | undefined;
  const value = metadata?.get(DETAILS_KEY)[0];
  if (!(value instanceof Uint8Array)) return {};
  try {
    return unpack(Status.decode(value));
  } catch {
    return {};
  }
}

function unpack(status: Status): Found {
  const found: Found = {};
  for (const { typeUrl, value } of status.details) {
    switch (typeUrl.slice(typeUrl.lastIndexOf('/') + 1)) {
      case 'google.rpc.BadRequest':
        found.field = BadRequest.decode(value).fieldViolations[0]?.field;
        break;
      case 'google.rpc.ErrorInfo': {
        const info = ErrorInfo.decode(value);
        found.reason = info.reason;
        found.metadata = info.metadata;
        break;
      }
      case 'google.rpc.RetryInfo': {
        const delay = RetryInfo.decode(value).retryDelay;
        if (delay !== undefined) found.retryAfterMs = Number(delay.seconds) * 1e3 + delay.nanos / 1e6;
        break;
      }
    }
  }
  return found;
}

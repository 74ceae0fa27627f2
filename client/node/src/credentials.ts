// Who a client talks to and how it proves itself.
import { createPrivateKey, X509Certificate } from 'node:crypto';

import { credentials, type ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';

import { describe, invalid, LossdError } from './errors.js';

/** Certificates in PEM. */
export type Pem = string | Uint8Array;

/** How a connection is secured. */
export interface TlsOptions {
  /** Whom to trust; left out, those authorities that Node trusts. */
  rootCertificates?: Pem | undefined;
  /** The client's own certificate, with those that lead to a root; needs clientKey. */
  clientCertificate?: Pem | undefined;
  /** The private key of clientCertificate. */
  clientKey?: Pem | undefined;
  /** The name that the server's certificate must be for, where it is not that of the address. */
  serverName?: string | undefined;
}

/** Where a server is. */
export interface ConnectionOptions {
  /** `HOST:PORT` or `unix:PATH`. */
  address: string;
  /** True for TLS with the authorities that Node trusts. Default false: plaintext. */
  tls?: TlsOptions | boolean | undefined;
  /** Sent as `authorization: Bearer TOKEN`; needs TLS or a Unix socket. */
  token?: string | undefined;
}

/** @throws LossdError with code INVALID_ARGUMENT. */
export function checkedAddress(address: unknown): string {
  if (typeof address === 'string' && /^[^\s\0]+$/.test(address)) return address;
  throw invalid('address', undefined, `expected 'HOST:PORT' or 'unix:PATH', got ${describe(address)}`);
}

/**
 * Refuses tokens without saying them.
 * @throws LossdError with code INVALID_ARGUMENT.
 */
export function checkedToken({ address, tls, token }: ConnectionOptions): string | undefined {
  if (token === undefined) return undefined;
  if (typeof token !== 'string' || !/^[!-~]+$/.test(token)) {
    throw invalid('token', undefined, 'expected printable ASCII characters without spaces');
  }
  if ((tls ?? false) === false && !address.startsWith('unix:')) {
    throw invalid('token', undefined, 'a token is sent over TLS or a Unix socket only: give tls');
  }
  return token;
}

/** @throws LossdError with code INVALID_ARGUMENT where certificates or the key cannot be read. */
export function channelCredentials({ tls }: ConnectionOptions): {
  credentials: ChannelCredentials;
  channelOptions: ChannelOptions;
} {
  if (tls === undefined || tls === false)
    return { credentials: credentials.createInsecure(), channelOptions: {} };
  if (tls !== true && (typeof tls !== 'object' || (tls as unknown) === null)) {
    throw invalid('tls', undefined, `expected true, false or an object, got ${describe(tls)}`);
  }
  const given = tls === true ? {} : tls;
  const roots = pem(given.rootCertificates, 'tls.rootCertificates', certificate);
  const chain = pem(given.clientCertificate, 'tls.clientCertificate', certificate);
  const key = pem(given.clientKey, 'tls.clientKey', createPrivateKey);
  if ((key === null) !== (chain === null)) {
    throw invalid('tls.clientKey', undefined, 'expected clientCertificate and clientKey together');
  }
  const name = given.serverName;
  const channelOptions: ChannelOptions =
    name === undefined ? {} : { 'grpc.ssl_target_name_override': name, 'grpc.default_authority': name };
  try {
    return { credentials: credentials.createSsl(roots, key, chain), channelOptions };
  } catch (cause) {
    // A key of another certificate, for example.
    throw unreadable('tls', cause);
  }
}

/** Bytes that can be read: Node takes roots for none where they cannot, and says nothing. */
function pem(value: unknown, field: string, read: (bytes: Buffer) => unknown): Buffer | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    throw invalid(field, undefined, `expected PEM, as a string or bytes; got ${describe(value)}`);
  }
  const bytes = Buffer.from(value);
  try {
    read(bytes);
    return bytes;
  } catch (cause) {
    throw unreadable(field, cause);
  }
}

function certificate(bytes: Buffer): X509Certificate {
  return new X509Certificate(bytes);
}

function unreadable(field: string, cause: unknown): LossdError {
  const words = `${field}: expected PEM that can be read: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new LossdError(words, { code: 'INVALID_ARGUMENT', field, cause });
}

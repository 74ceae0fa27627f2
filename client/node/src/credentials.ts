// Who a client talks to and how it proves itself.
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
  const roots = pem(given.rootCertificates, 'CERTIFICATE', 'rootCertificates');
  const certificate = pem(given.clientCertificate, 'CERTIFICATE', 'clientCertificate');
  const key = pem(given.clientKey, 'PRIVATE KEY', 'clientKey');
  if ((key === null) !== (certificate === null)) {
    throw invalid('tls.clientKey', undefined, 'expected clientCertificate and clientKey together');
  }
  const name = given.serverName;
  const channelOptions: ChannelOptions =
    name === undefined ? {} : { 'grpc.ssl_target_name_override': name, 'grpc.default_authority': name };
  try {
    return { credentials: credentials.createSsl(roots, key, certificate), channelOptions };
  } catch (cause) {
    const words = `tls: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new LossdError(words, { code: 'INVALID_ARGUMENT', field: 'tls', cause });
  }
}

function pem(value: unknown, kind: string, name: string): Buffer | null {
  if (value === undefined) return null;
  const bytes = typeof value === 'string' || value instanceof Uint8Array ? Buffer.from(value) : undefined;
  if (bytes?.includes(`${kind}-----`) !== true) {
    throw invalid(`tls.${name}`, undefined, `expected PEM with a ${kind.toLowerCase()} in it`);
  }
  return bytes;
}

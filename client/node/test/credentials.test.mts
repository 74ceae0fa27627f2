// TLS with certificates of our own making, tokens and Unix sockets. lossd has no TLS yet: the servers here
// are grpc-js's.
import { equal, ok } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import {
  Server as GrpcServer,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { LossdClient, type TlsOptions } from '@lossd/client';
import { GetServerInfoResponse, LossServiceService, type GetServerInfoRequest } from '@lossd/client/v1';

import { FakeServer, fails } from './fakes.mjs';

const folder = mkdtempSync(join(tmpdir(), 'lossd-tls-'));
after(() => {
  rmSync(folder, { recursive: true });
});

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

function read(name: string): Buffer {
  return readFileSync(join(folder, name));
}

/** A self-signed certificate for a name. */
function certificate(name: string, alternative: string): { certificate: Buffer; key: Buffer } {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=${alternative}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  );
  return { certificate: read(`${name}.pem`), key: read(`${name}.key`) };
}

const own = certificate('server', 'IP:127.0.0.1,DNS:loss.example');
const guest = certificate('guest', 'DNS:guest.example');

type Info = ServerUnaryCall<GetServerInfoRequest, GetServerInfoResponse>;

/** Answers with the token that it got as its version. */
const handlers = {
  getServerInfo: (call: Info, callback: sendUnaryData<GetServerInfoResponse>) => {
    const [token] = call.metadata.get('authorization');
    callback(null, GetServerInfoResponse.create({ version: String(token) }));
  },
};

function serving(guests: boolean): Promise<FakeServer> {
  const pair = { private_key: own.key, cert_chain: own.certificate };
  return FakeServer.start(
    handlers,
    ServerCredentials.createSsl(guests ? guest.certificate : null, [pair], guests),
  );
}

test('TLS with a root certificate, and a token', async () => {
  await using server = await serving(false);
  await using client = new LossdClient({
    address: server.address,
    tls: { rootCertificates: own.certificate },
    token: 'abc',
  });
  equal((await client.info()).version, 'Bearer abc');
  await using text = new LossdClient({
    address: server.address,
    tls: { rootCertificates: own.certificate.toString() },
  });
  equal((await text.info()).version, 'undefined');
});

test("servers that are not trusted, and names that are not the certificate's", async () => {
  await using server = await serving(false);
  const expect = async (tls: TlsOptions | boolean | undefined): Promise<void> => {
    await using client = new LossdClient({ address: server.address, tls, timeoutMs: 100_000 });
    await fails(() => client.info(), { code: 'UNAVAILABLE' }, new RegExp(server.address));
  };
  await expect(true);
  await expect(undefined);
  await expect({ rootCertificates: guest.certificate });
  await expect({ rootCertificates: own.certificate, serverName: 'other.example' });
  await using named = new LossdClient({
    address: server.address,
    tls: { rootCertificates: own.certificate, serverName: 'loss.example' },
  });
  ok(await named.info());
});

test('a server that wants to know its clients', async () => {
  await using server = await serving(true);
  const tls = {
    rootCertificates: own.certificate,
    clientCertificate: guest.certificate,
    clientKey: guest.key,
  };
  await using client = new LossdClient({ address: server.address, tls });
  ok(await client.info());
  await using stranger = new LossdClient({
    address: server.address,
    tls: { rootCertificates: own.certificate },
    timeoutMs: 10_000,
  });
  await fails(() => stranger.info(), { code: 'UNAVAILABLE' });
  const wrong = { ...tls, clientKey: own.key };
  await fails(() => new LossdClient({ address: server.address, tls: wrong }).info({ timeoutMs: 5000 }), {
    code: 'INVALID_ARGUMENT',
    field: 'tls',
  });
});

test('a token over a Unix socket', async () => {
  const server = new GrpcServer();
  server.addService(LossServiceService, handlers);
  const address = `unix:${join(folder, 'socket')}`;
  await new Promise((resolve) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), resolve);
  });
  await using client = new LossdClient({ address, token: 'xyz' });
  equal((await client.info()).version, 'Bearer xyz');
  server.forceShutdown();
});

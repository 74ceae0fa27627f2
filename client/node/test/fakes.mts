// Servers that answer as a test says, and what tests say again and again.
import { rejects } from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';

import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type StatusObject,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { LossdError, type ErrorDetails } from '@lossd/client';
import {
  BadRequest,
  ErrorInfo,
  EvaluateManyResponse,
  LossServiceService,
  RetryInfo,
  Status,
  type EvaluateManyRequest,
} from '@lossd/client/v1';

/** Two positions of three classes. */
export const LOGITS = { data: Float32Array.of(1, 2, 3, 1, 0, 0), shape: [2, 3] };
export const LABELS = Int32Array.of(2, 0);

/** Values that repeat nowhere soon. */
export function noise(length: number): Float32Array {
  return Float32Array.from({ length }, (_, index) => Math.sin(index * 12.9898) * 4);
}

/** A server of the stubs' own, which answers as the handlers say. Ends with `await using`. */
export class FakeServer {
  private constructor(
    private readonly server: Server,
    readonly address: string,
  ) {}

  static async start(
    handlers: UntypedServiceImplementation,
    credentials?: ServerCredentials,
  ): Promise<FakeServer> {
    const server = new Server();
    // Methods without a handler are UNIMPLEMENTED.
    server.addService(LossServiceService, handlers);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', credentials ?? ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    return new FakeServer(server, `127.0.0.1:${String(port)}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.server.forceShutdown();
    return Promise.resolve();
  }
}

/** A TCP server that does with a connection what the test says. Ends with `await using`. */
export class TcpFake {
  readonly #sockets = new Set<Socket>();

  private constructor(private readonly server: TcpServer) {}

  static async start(onConnection: (socket: Socket) => void): Promise<TcpFake> {
    const fake = new TcpFake(createServer());
    fake.server.on('connection', (socket) => {
      fake.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      onConnection(socket);
    });
    await new Promise<void>((resolve) => fake.server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get address(): string {
    return `127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) =>
      this.server.close(() => {
        resolve();
      }),
    );
  }
}

/** A status as lossd makes it. */
export function statusOf(
  code: number,
  message: string,
  path: string,
  reason: string,
  retryMs?: number,
): Status {
  const detail = (name: string, value: Uint8Array) => ({
    typeUrl: `type.googleapis.com/google.rpc.${name}`,
    value,
  });
  const details = [
    detail(
      'BadRequest',
      BadRequest.encode(BadRequest.create({ fieldViolations: [{ field: path }] })).finish(),
    ),
    detail('ErrorInfo', ErrorInfo.encode(ErrorInfo.create({ reason, domain: 'lossd.v1' })).finish()),
  ];
  if (retryMs !== undefined) {
    const retryDelay = { seconds: BigInt(Math.floor(retryMs / 1000)), nanos: (retryMs % 1000) * 1e6 };
    details.push(detail('RetryInfo', RetryInfo.encode(RetryInfo.create({ retryDelay })).finish()));
  }
  return Status.create({ code, message, details });
}

/** A status as a server's handler gives it. */
export function grpcError(status: Status): Partial<StatusObject> {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(Status.encode(status).finish()));
  return { code: status.code, details: status.message, metadata };
}

/** Expects a LossdError with these details. */
export async function fails(
  call: () => unknown,
  expected: Partial<ErrorDetails>,
  words?: RegExp,
): Promise<LossdError> {
  let caught: unknown;
  // An async function: what is thrown at once counts as well.
  await rejects(
    async () => call(),
    (error: unknown) => {
      caught = error;
      return true;
    },
  );
  if (!(caught instanceof LossdError)) throw new Error(`no LossdError: ${String(caught)}`, { cause: caught });
  for (const [name, value] of Object.entries(expected)) {
    const got = caught[name as keyof ErrorDetails];
    if (got !== value) throw new Error(`${name} is ${String(got)}, not ${String(value)}`, { cause: caught });
  }
  if (words !== undefined && !words.test(caught.message))
    throw new Error(`not ${String(words)}`, { cause: caught });
  return caught;
}

/** Waits for a condition: the machine may be busy. The runner's timeout ends what waits in vain. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

/** How long some work took. */
export async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

export type ManyCall = ServerDuplexStream<EvaluateManyRequest, EvaluateManyResponse>;

/** Refuses a problem of a pipeline, with its id as the position. */
export function refuse(stream: ManyCall, { id }: EvaluateManyRequest): void {
  const path = `request.target[${String(id)}]`;
  const value = statusOf(3, `${path}: no`, path, 'LABEL_OUT_OF_RANGE');
  stream.write(EvaluateManyResponse.create({ id, result: { $case: 'error', value } }));
}

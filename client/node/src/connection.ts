// A connection to a server: the channel, who may use it, and calls that end in LossdErrors.
import {
  Client,
  Metadata,
  type CallOptions as GrpcOptions,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';

import { channelCredentials, checkedAddress, checkedToken, type ConnectionOptions } from './credentials.js';
import type { Deadline } from './deadline.js';
import { aborted, closed, LossdError } from './errors.js';
import type { Method } from './methods.js';
import { fromServiceError } from './status.js';

const WINDOW_BYTES = 4 << 20;

const CHANNEL_OPTIONS = {
  // An answer may be greater than the 4 MiB that gRPC takes by default.
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  // With the default of 64 KiB streams are little more than half as fast.
  'grpc-node.flow_control_window': WINDOW_BYTES,
  // Calls are made again by retry.ts, which also knows when the server asks for it.
  'grpc.enable_retries': 0,
  // A server that comes back is found between the attempts, and soon after a longer absence.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 5_000,
  // A server that is gone without a word ends its calls.
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
};

/** Part of a call that can be ended from this side. */
interface Cancellable {
  cancel(): void;
}

/** An open channel. Connects when the first call is made. */
export class Connection {
  readonly #address: string;
  readonly #client: Client;
  readonly #metadata = new Metadata();
  readonly #calls = new Set<Cancellable>();
  #closed = false;

  /** @throws LossdError with code INVALID_ARGUMENT; fields are those of the options. */
  constructor(options: ConnectionOptions) {
    this.#address = checkedAddress(options.address);
    const token = checkedToken(options);
    if (token !== undefined) this.#metadata.set('authorization', `Bearer ${token}`);
    const { credentials, channelOptions } = channelCredentials(options);
    try {
      this.#client = new Client(this.#address, credentials, { ...CHANNEL_OPTIONS, ...channelOptions });
    } catch (cause) {
      const words = `address: cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`;
      throw new LossdError(words, { code: 'INVALID_ARGUMENT', field: 'address', cause });
    }
  }

  /** The response to one message. */
  unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    deadline: Deadline,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.check(deadline);
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.serialize,
        method.deserialize,
        request,
        this.#metadata,
        callOptions(deadline),
        (error, response) => {
          release();
          if (error !== null) reject(this.#failed(error, deadline));
          else resolve(response as Response);
        },
      );
      const release = this.#track(call, deadline.signal);
    });
  }

  /**
   * A call of two streams.
   * @returns the stream, and what to call once it has ended: makes the LossdError of its `error` event.
   */
  duplex<Request, Response>(
    method: Method<Request, Response>,
    deadline: Deadline,
  ): Duplex<Request, Response> {
    this.check(deadline);
    const { path, serialize, deserialize } = method;
    const stream = this.#client.makeBidiStreamRequest(
      path,
      serialize,
      deserialize,
      this.#metadata,
      callOptions(deadline),
    );
    const release = this.#track(stream, deadline.signal);
    return {
      stream,
      ended: release,
      failed: (error) => {
        release();
        return this.#failed(error as ServiceError, deadline);
      },
    };
  }

  /** Ends the calls in flight and refuses further ones. */
  close(): void {
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#client.close();
  }

  /** @throws LossdError where no call must be made (any more). */
  check(deadline: Deadline): void {
    if (this.#closed) throw closed();
    deadline.check();
  }

  #track(call: Cancellable, signal: AbortSignal | undefined): () => void {
    const cancel = (): void => {
      call.cancel();
    };
    this.#calls.add(call);
    signal?.addEventListener('abort', cancel);
    return () => {
      this.#calls.delete(call);
      signal?.removeEventListener('abort', cancel);
    };
  }

  #failed(error: ServiceError, { signal }: Deadline): LossdError {
    const failed = fromServiceError(error, this.#address);
    if (failed.code !== 'CANCELLED') return failed;
    if (signal?.aborted === true) return aborted(signal);
    return this.#closed ? closed(error) : failed;
  }
}

/** A call of two streams. */
export interface Duplex<Request, Response> {
  readonly stream: ClientDuplexStream<Request, Response>;
  /** To be called once the stream has ended without an error. */
  ended(): void;
  /** To be called with the stream's error. */
  failed(error: Error): LossdError;
}

function callOptions(deadline: Deadline): GrpcOptions {
  const left = deadline.leftMs;
  return left === Infinity ? {} : { deadline: Date.now() + left };
}

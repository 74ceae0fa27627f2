// The methods of LossService, with serializers that spare a copy: those of the generated stubs copy what
// they have written once more.
import {
  CombineRequest,
  CombineResponse,
  EvaluateManyRequest,
  EvaluateManyResponse,
  EvaluateRequest,
  EvaluateResponse,
  EvaluateStreamRequest,
  EvaluateStreamResponse,
  GetServerInfoRequest,
  GetServerInfoResponse,
  LossServiceService,
} from './gen/lossd/v1/service.js';

/** A method of the service. */
export interface Method<Request, Response> {
  readonly path: string;
  readonly serialize: (request: Request) => Buffer;
  readonly deserialize: (bytes: Buffer) => Response;
}

interface Encoder<T> {
  encode(message: T): { finish(): Uint8Array };
}

interface Decoder<T> {
  decode(bytes: Uint8Array): T;
}

function method<Request, Response>(
  { path }: { path: string },
  request: Encoder<Request>,
  response: Decoder<Response>,
): Method<Request, Response> {
  return {
    path,
    serialize(message) {
      const bytes = request.encode(message).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    deserialize: (bytes) => response.decode(bytes),
  };
}

const { evaluate, evaluateMany, evaluateStream, combine, getServerInfo } = LossServiceService;

export const EVALUATE = method(evaluate, EvaluateRequest, EvaluateResponse);
export const EVALUATE_MANY = method(evaluateMany, EvaluateManyRequest, EvaluateManyResponse);
export const EVALUATE_STREAM = method(evaluateStream, EvaluateStreamRequest, EvaluateStreamResponse);
export const COMBINE = method(combine, CombineRequest, CombineResponse);
export const GET_SERVER_INFO = method(getServerInfo, GetServerInfoRequest, GetServerInfoResponse);

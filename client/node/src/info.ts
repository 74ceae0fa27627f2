// What a server says of itself.
import type { GetServerInfoResponse, Limits } from './gen/lossd/v1/service.js';

/** Limits of a server. A call that passes one is RESOURCE_EXHAUSTED, reason LIMIT_EXCEEDED. */
export interface ServerLimits {
  /** Bytes of one received message; larger problems go by stream. */
  maxMessageBytes: number;
  /** Dimensions of a tensor. */
  maxRank: number;
  maxClasses: number;
  maxPositions: number;
  /** Bytes that the stored class indices of one stream may take. */
  maxLabelBytes: number;
  /** Bytes that one tensor of a stream may be ahead of what it is evaluated with. */
  maxStreamSkewBytes: number;
  /** Bytes of input that a stream holds at once. */
  streamWindowBytes: number;
  /** Bytes that all calls in flight may hold together. */
  maxMemoryBytes: number;
}

/** What a server is and accepts. */
export interface ServerInfo {
  /** As `major.minor.patch`. */
  version: string;
  /** That the kernels use, such as `AVX2`. Results do not depend on it. */
  instructionSet: string;
  /** Number of workers. */
  threads: number;
  /** Whether tensors may be references to shared memory. */
  sharedMemory: boolean;
  limits: ServerLimits;
}

export function fromInfo({
  version,
  instructionSet,
  threads,
  sharedMemory,
  limits,
}: GetServerInfoResponse): ServerInfo {
  const of = (name: keyof Omit<Limits, '_unknownFields'>): number => Number(limits?.[name] ?? 0);
  return {
    version,
    instructionSet,
    threads,
    sharedMemory,
    limits: {
      maxMessageBytes: of('maxMessageBytes'),
      maxRank: of('maxRank'),
      maxClasses: of('maxClasses'),
      maxPositions: of('maxPositions'),
      maxLabelBytes: of('maxLabelBytes'),
      maxStreamSkewBytes: of('maxStreamSkewBytes'),
      streamWindowBytes: of('streamWindowBytes'),
      maxMemoryBytes: of('maxMemoryBytes'),
    },
  };
}

export { LossdClient, type EvaluateOptions, type Exactly, type LossdClientOptions } from './client.js';
export type { ConnectionOptions, Pem, TlsOptions } from './credentials.js';
export type { DType, FloatArray, FloatDType, HalfArray, IntArray, IntDType, TensorArray } from './dtypes.js';
export { LossdError, type ErrorCode, type ErrorDetails } from './errors.js';
export type { ServerInfo, ServerLimits } from './info.js';
export { LossdMany } from './many.js';
export type {
  CallOptions,
  CrossEntropyOptions,
  NllLossOptions,
  Progress,
  TransportOptions,
} from './options.js';
export { tensor, toFloat32, type ArrayOf, type Nested } from './numbers.js';
export { Combined, LossResult, Sums, type LossArray, type ResultArray, type Wanted } from './result.js';
export type { ResultTensor, Tensor, TensorLike } from './tensor.js';

// The messages and stubs of the protocol, for what LossdClient does not cover: lossd.v1 and the details of
// its errors.
export * from './gen/lossd/v1/criterion.js';
export * from './gen/lossd/v1/service.js';
export * from './gen/lossd/v1/tensor.js';
export { BadRequest, ErrorInfo, RetryInfo } from './gen/google/rpc/error_details.js';
export { Status } from './gen/google/rpc/status.js';

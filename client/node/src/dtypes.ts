// Element types: their names, their numbers on the wire, and the arrays that hold them.
import { DataType } from './gen/lossd/v1/tensor.js';

/** Element types of logits, weights, probabilities and gradients. */
export type FloatDType = 'float32' | 'float64' | 'float16' | 'bfloat16';

/** Element types of class indices. */
export type IntDType = 'int8' | 'int16' | 'int32' | 'int64' | 'uint8' | 'uint16' | 'uint32' | 'uint64';

/** Element types. */
export type DType = FloatDType | IntDType;

/** A Float16Array, where the runtime has it (Node 24). */
export interface HalfArray {
  readonly [Symbol.toStringTag]: 'Float16Array';
  readonly BYTES_PER_ELEMENT: number;
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly byteLength: number;
  readonly length: number;
  [index: number]: number;
}

/**
 * Arrays of floating-point elements. A Uint16Array holds the bits of float16 or bfloat16, whichever
 * the tensor's dtype says; a Uint8Array the little-endian bytes of any dtype.
 */
export type FloatArray = Float32Array | Float64Array | HalfArray | Uint16Array | Uint8Array;

/** Arrays of integers; a Uint8Array beside a dtype holds the little-endian bytes of that. */
export type IntArray =
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** Arrays that a tensor may hold. */
export type TensorArray = FloatArray | IntArray;

interface Kind {
  readonly wire: DataType;
  readonly size: number;
}

export const KINDS: Readonly<Record<DType, Kind>> = {
  float32: { wire: DataType.DATA_TYPE_FLOAT32, size: 4 },
  float64: { wire: DataType.DATA_TYPE_FLOAT64, size: 8 },
  float16: { wire: DataType.DATA_TYPE_FLOAT16, size: 2 },
  bfloat16: { wire: DataType.DATA_TYPE_BFLOAT16, size: 2 },
  int8: { wire: DataType.DATA_TYPE_INT8, size: 1 },
  int16: { wire: DataType.DATA_TYPE_INT16, size: 2 },
  int32: { wire: DataType.DATA_TYPE_INT32, size: 4 },
  int64: { wire: DataType.DATA_TYPE_INT64, size: 8 },
  uint8: { wire: DataType.DATA_TYPE_UINT8, size: 1 },
  uint16: { wire: DataType.DATA_TYPE_UINT16, size: 2 },
  uint32: { wire: DataType.DATA_TYPE_UINT32, size: 4 },
  uint64: { wire: DataType.DATA_TYPE_UINT64, size: 8 },
};

/** The element type that each class of arrays states, by the name that the class goes by. */
export const ARRAY_DTYPES: Readonly<Record<string, DType | undefined>> = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  Float16Array: 'float16',
  Int8Array: 'int8',
  Int16Array: 'int16',
  Int32Array: 'int32',
  BigInt64Array: 'int64',
  Uint8Array: 'uint8',
  Uint8ClampedArray: 'uint8',
  Uint16Array: 'uint16',
  Uint32Array: 'uint32',
  BigUint64Array: 'uint64',
};

/** Whether these elements are class indices, not probabilities. */
export function isInteger(dtype: DType): dtype is IntDType {
  return !(dtype === 'float32' || dtype === 'float64' || dtype === 'float16' || dtype === 'bfloat16');
}

/** The type of losses beside logits of this type. */
export function lossDType(logits: DType): 'float32' | 'float64' {
  return logits === 'float64' ? 'float64' : 'float32';
}

/** The name of a lossd.v1.DataType, or undefined where it has none here. */
export function dtypeOf(wire: DataType): DType | undefined {
  return (Object.keys(KINDS) as DType[]).find((name) => KINDS[name].wire === wire);
}

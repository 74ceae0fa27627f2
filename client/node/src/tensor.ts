// Tensors as callers give them and get them, and the bytes of either.
import { types } from 'node:util';

import { ARRAY_DTYPES, KINDS, type DType, type TensorArray } from './dtypes.js';
import { describe, invalid, LossdError, shapeText } from './errors.js';

/**
 * A dense row-major tensor. Its data is sent from where it lies and must not change until the call
 * has ended.
 */
export interface Tensor<A extends TensorArray = TensorArray> {
  /** The elements, or (a Uint8Array beside a dtype) their little-endian bytes. */
  readonly data: A;
  /** Sizes of the dimensions, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
  /** Left out, it is that of the array. Needed for halves in a Uint16Array and for bytes. */
  readonly dtype?: DType | undefined;
}

/** A tensor that a call gives: its data belongs to the caller. */
export interface ResultTensor<A extends TensorArray = TensorArray> extends Tensor<A> {
  readonly dtype: DType;
}

/** A tensor, or an array that is taken for one of one dimension. */
export type TensorLike<A extends TensorArray = TensorArray> = Tensor<A> | A;

type ArrayMaker = new (buffer: ArrayBuffer) => TensorArray;

/** The type and shape of a tensor, and the class of its array. */
export interface Spec {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly arrayType: ArrayMaker;
}

/** A tensor that is ready for the wire. */
export interface Operand extends Spec {
  /** Views the caller's memory. */
  readonly bytes: Uint8Array;
}

/**
 * The tensor that a caller gave.
 * @param value - anything; JavaScript's callers have no types.
 * @param name - the argument's name.
 * @throws LossdError with code INVALID_ARGUMENT.
 */
export function readTensor(value: unknown, name: string): Operand {
  const flat = types.isTypedArray(value);
  if (!flat && (typeof value !== 'object' || value === null || !('data' in value))) {
    throw invalid(name, undefined, `expected { data, shape } or a typed array, got ${describe(value)}`);
  }
  const { data, dtype: stated, shape: sizes } = flat ? { data: value } : (value as Partial<Tensor>);
  if (!types.isTypedArray(data)) {
    throw invalid(`${name}.data`, undefined, `expected a typed array, got ${describe(data)}`);
  }
  const dtype = elementType(data, stated, name);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const { size } = KINDS[dtype];
  const shape = flat ? [data.byteLength / size] : checkedShape(sizes, name);
  const expected = shape.reduce((product, axis) => product * axis, 1);
  if (expected * size !== bytes.length) {
    const got = bytes.length / size;
    throw invalid(
      name,
      'LENGTH_MISMATCH',
      `expected ${String(expected)} elements for shape ${shapeText(shape)}, got ${String(got)}`,
    );
  }
  return { dtype, shape, bytes, arrayType: arrayType(data) };
}

/** A number as a scalar tensor. */
export function scalar(value: number, dtype: 'float32' | 'float64'): Operand {
  const data = dtype === 'float64' ? Float64Array.of(value) : Float32Array.of(value);
  return { ...readTensor({ data, shape: [] }, 'scalar') };
}

/** A tensor of zeros that will hold a result. */
export class Output {
  readonly bytes: Uint8Array;
  readonly #data: TensorArray;

  /** @throws LossdError with code RESOURCE_EXHAUSTED where this process has no memory for it. */
  constructor(readonly spec: Spec) {
    const length = spec.shape.reduce((product, axis) => product * axis, KINDS[spec.dtype].size);
    try {
      const buffer = new ArrayBuffer(length);
      this.#data = new spec.arrayType(buffer);
      this.bytes = new Uint8Array(buffer);
    } catch (cause) {
      const words = `no memory for a result of ${String(length)} bytes`;
      throw new LossdError(words, { code: 'RESOURCE_EXHAUSTED', cause });
    }
  }

  tensor(): ResultTensor {
    return { data: this.#data, shape: this.spec.shape, dtype: this.spec.dtype };
  }
}

function elementType(data: TensorArray, stated: unknown, name: string): DType {
  const tag = data[Symbol.toStringTag];
  const own = ARRAY_DTYPES[tag];
  if (own === undefined)
    throw invalid(`${name}.data`, 'DTYPE_UNSUPPORTED', `expected another array than a ${tag}`);
  if (stated === undefined || stated === own) return own;
  if (typeof stated !== 'string' || !Object.hasOwn(KINDS, stated)) {
    const names = Object.keys(KINDS).join(', ');
    throw invalid(`${name}.dtype`, 'DTYPE_UNSUPPORTED', `expected one of ${names}; got ${describe(stated)}`);
  }
  const dtype = stated as DType;
  if (own === 'uint8' || (own === 'uint16' && (dtype === 'float16' || dtype === 'bfloat16'))) return dtype;
  throw invalid(`${name}.dtype`, 'DTYPE_MISMATCH', `expected ${own}, the type of its ${tag}; got ${dtype}`);
}

function checkedShape(shape: unknown, name: string): readonly number[] {
  const sizes: readonly unknown[] | undefined = Array.isArray(shape) ? shape : undefined;
  if (sizes?.every((size) => Number.isSafeInteger(size) && (size as number) >= 0) !== true) {
    throw invalid(
      `${name}.shape`,
      undefined,
      `expected an array of sizes, each at least 0; got ${describe(shape)}`,
    );
  }
  // A copy: the caller may change theirs while the call goes on.
  return [...sizes] as number[];
}

/** The class that results of the same kind are made of. Not a subclass, whose constructor may take other things. */
function arrayType(data: TensorArray): ArrayMaker {
  return (globalThis as unknown as Record<TensorArray[typeof Symbol.toStringTag], ArrayMaker>)[
    data[Symbol.toStringTag]
  ];
}

// Tensors from plain numbers, and plain numbers from halves.
import { KINDS, type DType } from './dtypes.js';
import { describe, invalid } from './errors.js';
import type { Tensor } from './tensor.js';

/** A number, or arrays of numbers nested as deep as the tensor has dimensions. */
export type Nested = number | bigint | readonly Nested[];

/** The array that holds elements of a type. */
export interface ArrayOf {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
}

type Maker<A> = new (length: number) => A;

const ARRAYS: { readonly [D in DType]: Maker<ArrayOf[D]> } = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
};

/** Bits of the fraction, and the least exponent of a normal number. */
interface HalfFormat {
  readonly fraction: number;
  readonly least: number;
}

const HALVES: Partial<Record<DType, HalfFormat>> = {
  float16: { fraction: 10, least: -14 },
  bfloat16: { fraction: 7, least: -126 },
};

/**
 * A tensor of plain numbers, for people and tests: `tensor([[1, 2, 3], [1, 0, 0]])`.
 * @param values - rounded to nearest even where the type is floating.
 * @param dtype - default float32. Halves come as their bits in a Uint16Array.
 * @throws LossdError with code INVALID_ARGUMENT where rows are of different lengths, or an integer is
 * beyond its type.
 */
export function tensor(values: Nested): Tensor<Float32Array> & { dtype: 'float32' };
export function tensor<D extends DType>(values: Nested, dtype: D): Tensor<ArrayOf[D]> & { dtype: D };
export function tensor(values: Nested, type: DType = 'float32'): Tensor & { dtype: DType } {
  if (!Object.hasOwn(KINDS, type))
    throw invalid('dtype', 'DTYPE_UNSUPPORTED', `no such type: ${describe(type)}`);
  const shape: number[] = [];
  for (let level = values; Array.isArray(level); level = (level as readonly Nested[])[0] ?? 0)
    shape.push(level.length);
  const flat: (number | bigint)[] = [];
  flatten(values, shape, 0, flat);
  const data = new ARRAYS[type](flat.length);
  const half = HALVES[type];
  for (const [index, value] of flat.entries()) {
    const element = half === undefined ? elementOf(value, data) : halfBits(Number(value), half);
    data[index] = element;
    if (type.includes('int') && data[index] !== element) {
      throw invalid(
        `values[${String(index)}]`,
        'VALUE_RANGE',
        `expected a value of ${type}, got ${describe(value)}`,
      );
    }
  }
  return { data, shape, dtype: type };
}

/** The elements of a tensor of halves as numbers, each exactly; the upper halves of float32 for bfloat16. */
export function toFloat32(half: {
  readonly data: Uint16Array;
  readonly dtype?: DType | undefined;
}): Float32Array {
  const format = HALVES[half.dtype ?? 'uint16'];
  if (format === undefined) {
    throw invalid('dtype', 'DTYPE_MISMATCH', `expected float16 or bfloat16, got ${describe(half.dtype)}`);
  }
  return Float32Array.from(half.data, (bits) => halfValue(bits, format));
}

function flatten(values: Nested, shape: readonly number[], depth: number, to: (number | bigint)[]): void {
  if (typeof values === 'number' || typeof values === 'bigint') {
    if (depth === shape.length) {
      to.push(values);
      return;
    }
  } else if (Array.isArray(values) && values.length === shape[depth]) {
    for (const value of values as readonly Nested[]) flatten(value, shape, depth + 1, to);
    return;
  }
  throw invalid('values', undefined, `expected numbers, in rows of one length; got ${describe(values)}`);
}

function elementOf(value: number | bigint, data: ArrayOf[DType]): number | bigint {
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  if (wide && typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw invalid('values', 'VALUE_RANGE', `expected whole numbers, exact ones; got ${describe(value)}`);
  }
  return wide ? BigInt(value) : Number(value);
}

function halfBits(value: number, { fraction, least }: HalfFormat): number {
  const infinity = 0x7fff - (2 ** fraction - 1);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  if (Number.isNaN(value)) return infinity + 2 ** (fraction - 1);
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return sign + infinity;
  let exponent = Math.max(least, Math.floor(Math.log2(magnitude)));
  // Math.log2 rounds: beside a power of 2 it may be one off.
  while (exponent > least && magnitude < 2 ** exponent) exponent--;
  while (magnitude >= 2 ** (exponent + 1)) exponent++;
  const units = roundHalfEven(magnitude / 2 ** (exponent - fraction));
  return sign + Math.min(infinity, (exponent - least) * 2 ** fraction + units);
}

function halfValue(bits: number, { fraction, least }: HalfFormat): number {
  const sign = bits >= 0x8000 ? -1 : 1;
  const magnitude = bits & 0x7fff;
  const exponent = magnitude >> fraction;
  const units = magnitude - exponent * 2 ** fraction;
  if (exponent === 0x7fff >> fraction) return units === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * units * 2 ** (least - fraction);
  return sign * (units + 2 ** fraction) * 2 ** (exponent - 1 + least - fraction);
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

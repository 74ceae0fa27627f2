// Exact sums (lossd.v1.ExactSum) as numbers.
import type { ExactSum } from './gen/lossd/v1/criterion.js';

/**
 * An exact sum rounded once, to the nearest number, ties to even.
 * @param sum - its units are two's complement, little-endian, 2^-149 each, or 2^-1074 for float64.
 * @returns NaN and infinities as adding them up would give; zero as +0.
 */
export function toNumber(sum: ExactSum | undefined, dtype: 'float32' | 'float64'): number {
  if (sum === undefined) return 0;
  const { nanCount, positiveInfinityCount: above, negativeInfinityCount: below } = sum;
  if (nanCount > 0n || (above > 0n && below > 0n)) return NaN;
  if (above > 0n) return Infinity;
  if (below > 0n) return -Infinity;
  const units = integerOf(sum.units);
  const magnitude = ratio(units < 0n ? -units : units, dtype === 'float64' ? 1074 : 149);
  return units < 0n ? -magnitude : magnitude;
}

function integerOf(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  const hex = Buffer.from(bytes).reverse().toString('hex');
  return BigInt.asIntN(8 * bytes.length, BigInt(`0x${hex}`));
}

/** value x 2^-exponent, rounded once. */
function ratio(value: bigint, exponent: number): number {
  // At least 61 bits are kept, the last one set where anything was cut off: Number() then rounds as it
  // would round the whole. Scaling is exact after that: no sum has bits below the least number.
  const bits = 4 * value.toString(16).length;
  const cut = BigInt(Math.max(0, bits - 64));
  let head = value >> cut;
  if (head << cut !== value) head |= 1n;
  return scale(Number(head), Number(cut) - exponent);
}

/** number x 2^power, in steps: 2^power alone may be no number. */
function scale(number: number, power: number): number {
  let result = number;
  let left = power;
  while (left > 1000) {
    result *= 2 ** 1000;
    left -= 1000;
  }
  while (left < -1000) {
    result *= 2 ** -1000;
    left += 1000;
  }
  return result * 2 ** left;
}

//! Exact sums as floats.

use crate::proto::ExactSum;

/// An exact sum rounded once, to the nearest `f64`, ties to even.
///
/// `double` says that its units are 2^-1074, those of losses of float64, and not 2^-149. NaN and
/// infinities are as adding them up would give.
pub(crate) fn to_f64(sum: &ExactSum, double: bool) -> f64 {
    match (sum.nan_count, sum.positive_infinity_count, sum.negative_infinity_count) {
        (0, 0, 0) => scaled(&sum.units, if double { 1074 } else { 149 }),
        (0, _, 0) => f64::INFINITY,
        (0, 0, _) => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}

/// A little-endian two's-complement integer times 2^-exponent.
fn scaled(units: &[u8], exponent: i64) -> f64 {
    let negative = units.last().is_some_and(|&byte| byte >= 0x80);
    let magnitude = if negative { negated(units) } else { units.to_vec() };
    let Some(highest) = magnitude.iter().rposition(|&byte| byte != 0) else {
        return 0.0;
    };
    let bits = highest * 8 + 8 - magnitude[highest].leading_zeros() as usize;
    // All bits of a double, or fewer: neither unit is below the least subnormal.
    let dropped = bits.saturating_sub(f64::MANTISSA_DIGITS as usize);
    let mut top =
        (dropped..bits).rev().fold(0u64, |top, at| top << 1 | u64::from(bit(&magnitude, at)));
    if dropped > 0 && bit(&magnitude, dropped - 1) {
        let more = (0..dropped - 1).any(|at| bit(&magnitude, at));
        top += u64::from(more || top & 1 == 1);
    }
    // At most 2^53, so exact.
    let value = top as f64 * power_of_two(dropped as i64 - exponent);
    if negative { -value } else { value }
}

fn bit(magnitude: &[u8], at: usize) -> bool {
    magnitude[at / 8] >> (at % 8) & 1 == 1
}

fn negated(units: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let negate = |&byte: &u8| {
        let (value, overflow) = (!byte).overflowing_add(u8::from(carry));
        carry = overflow;
        value
    };
    units.iter().map(negate).collect()
}

/// 2^exponent: subnormal and infinite ones too.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        ..-1074 => 0.0,
        -1074..-1022 => f64::from_bits(1 << (exponent + 1074)),
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::to_f64;
    use crate::proto::ExactSum;

    fn sum(units: &[u8], double: bool) -> f64 {
        to_f64(&ExactSum { units: units.to_vec().into(), ..Default::default() }, double)
    }

    /// 2^`at` - 2^`below`, as units.
    fn units(at: usize, below: Option<usize>) -> Vec<u8> {
        let mut bytes = vec![0; at / 8 + 2];
        match below {
            None => bytes[at / 8] |= 1 << (at % 8),
            Some(low) => (low..at).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8)),
        }
        bytes
    }

    #[test]
    fn integers_are_exact() {
        assert_eq!(sum(&[], false), 0.0);
        assert_eq!(sum(&units(149, None), false), 1.0);
        assert_eq!(sum(&units(1074, None), true), 1.0);
        assert_eq!(sum(&[1], true), f64::from_bits(1));
        assert_eq!(sum(&[0xff], false), -(2f64.powi(-149)));
        assert_eq!(sum(&[0x00, 0x80], false), -(2f64.powi(15 - 149)));
    }

    #[test]
    fn ties_go_to_even_and_the_rest_to_the_nearest() {
        // 2^53 ones rounded up: 54 ones are a tie above an odd number.
        assert_eq!(sum(&units(54, Some(0)), true), 2f64.powi(54 - 1000) * 2f64.powi(-74));
        let mut tie = units(149 + 53, None);
        tie[149 / 8] |= 1 << (149 % 8);
        assert_eq!(sum(&tie, false), 2f64.powi(53), "1 beside 2^53 is a tie, and 2^53 is even");
        tie[0] |= 1;
        assert_eq!(sum(&tie, false), 2f64.powi(53) + 2.0, "a little more is no tie");
    }

    #[test]
    fn sums_beyond_the_range_are_infinite() {
        assert_eq!(sum(&units(1074 + 1023, None), true), 2f64.powi(1023));
        assert_eq!(sum(&units(1074 + 1024, None), true), f64::INFINITY);
        assert_eq!(sum(&units(1074 + 1024, Some(1074)), true), f64::INFINITY);
        assert_eq!(sum(&units(1074 + 1024, Some(1074 + 971)), true), f64::MAX);
    }

    #[test]
    fn what_is_not_finite_counts() {
        let of = |nan_count, positive_infinity_count, negative_infinity_count| {
            let units = vec![1].into();
            to_f64(
                &ExactSum { units, nan_count, positive_infinity_count, negative_infinity_count },
                true,
            )
        };
        assert!(of(1, 0, 0).is_nan() && of(0, 1, 1).is_nan() && of(1, 1, 0).is_nan());
        assert_eq!(of(0, 2, 0), f64::INFINITY);
        assert_eq!(of(0, 0, 2), f64::NEG_INFINITY);
    }
}

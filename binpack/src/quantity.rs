//! Amounts as text: decimals, and Kubernetes' quantities with their suffixes.

use std::str::FromStr;

/// The suffixes of a quantity, and what one of it is: a numerator and a denominator.
///
/// Source: the grammar of `resource.Quantity` in `k8s.io/apimachinery`; its nano, micro and
/// exponent forms are not known here.
const SUFFIXES: [(&str, u64, u64); 13] = [
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
];

/// The most digits behind the point: far more than a quantity has, and few enough to be exact.
const MAX_FRACTION_DIGITS: usize = 15;

/// A Kubernetes quantity such as `1500m`, `1.5` or `16Gi` in units of which one has `per_one`:
/// 1 for bytes, 1000 for thousandths of cores. What is finer than a unit is rounded up, as
/// Kubernetes does. An amount beyond `u64` is `u64::MAX`, which every limit refuses; `None` is a
/// text that is no quantity.
pub(crate) fn quantity(text: &str, per_one: u64) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, suffix) = text.split_at(number.len());
    let (times, parts) = match suffix {
        "" => (1, 1),
        suffix => SUFFIXES
            .iter()
            .find(|(known, ..)| *known == suffix)
            .map(|(_, times, parts)| (*times, *parts))?,
    };
    scaled(number, u128::from(times) * u128::from(per_one), parts)
}

/// A number such as `937.5` in units of which one has `per_one`, as [`quantity`] without suffixes.
pub(crate) fn decimal(text: &str, per_one: u64) -> Option<u64> {
    scaled(text, u128::from(per_one), 1)
}

/// `number` times `times` / `parts`, rounded up.
fn scaled(number: &str, times: u128, parts: u64) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some(split) => split,
        None => (number, ""),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || !digits(whole)
        || !digits(fraction)
        || fraction.len() > MAX_FRACTION_DIGITS
    {
        return None;
    }
    // Digits alone fail to parse only where they are too many.
    let whole = u128::from_str(whole).unwrap_or(u128::MAX);
    let tenths = fraction.bytes().map(|b| u128::from(b - b'0'));
    let (fraction, scale) =
        tenths.fold((0, 1), |(sum, scale), digit| (sum * 10 + digit, scale * 10));
    let value = whole.saturating_mul(scale).saturating_add(fraction).saturating_mul(times);
    let value = value.div_ceil(scale.saturating_mul(u128::from(parts)));
    Some(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_exact_and_rounded_up() {
        let cases = [
            ("4", 1_000, 4_000),
            ("100m", 1_000, 100),
            ("1.5", 1_000, 1_500),
            ("0.0001", 1_000, 1),
            ("1500m", 1, 2),
            ("16Gi", 1, 16 << 30),
            ("1.5Gi", 1, 3 << 29),
            ("1k", 1, 1_000),
            ("2M", 1, 2_000_000),
            ("1G", 1, 1_000_000_000),
            ("3T", 1, 3_000_000_000_000),
            ("1P", 1, 1_000_000_000_000_000),
            ("2Ki", 1, 2_048),
            ("1Mi", 1, 1 << 20),
            ("1Ti", 1, 1 << 40),
            ("1Pi", 1, 1 << 50),
            ("1Ei", 1, 1 << 60),
            ("18E", 1, 18_000_000_000_000_000_000),
            ("19E", 1, u64::MAX),
            ("99999999999999999999999999999999999999999999", 1, u64::MAX),
            ("0", 1, 0),
        ];
        for (text, per_one, expected) in cases {
            assert_eq!(quantity(text, per_one), Some(expected), "{text}");
        }
        assert_eq!(decimal("937.5", 1 << 30), Some(1_875 << 29));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            "m",
            "-1",
            "+1",
            ".5",
            "5.",
            "1e3",
            "1 Gi",
            "1gi",
            "1KiB",
            "1.2.3",
            "NaN",
            "١",
            "1n",
            "0.1234567890123456",
        ] {
            assert_eq!(quantity(text, 1), None, "{text}");
        }
        assert_eq!(decimal("1Gi", 1), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,12}|[0-9.]{0,50}[a-zA-Z]{0,2}", per_one in any::<u64>()) {
            let whole = quantity(&text, 1);
            prop_assert_eq!(whole.is_some(), quantity(&text, per_one).is_some());
        }

        #[test]
        fn a_number_is_itself(number in any::<u64>()) {
            prop_assert_eq!(quantity(&number.to_string(), 1), Some(number));
        }
    }
}

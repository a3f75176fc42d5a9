//! Dollars as text.

use std::str::FromStr;

/// Dollars per hour, which may have a fraction, as millionths; `None` if it is no such number.
/// Digits beyond the sixth are rounded up, so that no price becomes less.
pub(crate) fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let mut value = u64::from_str(whole).ok()?.checked_mul(1_000_000)?;
    let mut unit = 100_000;
    for digit in fraction.bytes().take(6) {
        value = value.checked_add(u64::from(digit - b'0') * unit)?;
        unit /= 10;
    }
    let rest = fraction.bytes().skip(6).any(|b| b != b'0');
    value.checked_add(u64::from(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_exact_and_rounded_up() {
        let cases = [
            ("0.0416", 41_600),
            ("55.04", 55_040_000),
            ("7", 7_000_000),
            ("0.0320001", 32_001),
            ("0.019003238553599998", 19_004),
            ("0", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        for text in
            ["", ".5", "5.", "-1", "1e3", "NaN", "1.2.3", "99999999999999999999", "+1", "1,5"]
        {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}

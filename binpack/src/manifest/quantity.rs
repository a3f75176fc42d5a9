//! Amounts as Kubernetes writes them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Billionths of a unit, the finest that Kubernetes keeps.
const NANOS: u128 = 1_000_000_000;

/// Kubernetes caps a quantity at the greatest signed 64-bit number of units.
const MAX_NANOS: u128 = (i64::MAX as u128) * NANOS;

/// An amount of a resource such as `100m`, `1.5`, `2Gi` or `1e3`, from 0 on.
///
/// It is exact to a billionth; what is finer is rounded up, as Kubernetes does. The form is that of
/// `resource.Quantity` in k8s.io/apimachinery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity {
    nanos: u128,
}

impl Quantity {
    /// Reads the text of a quantity. An error goes on from `is "<text>": `.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err("write a number with a unit, such as 500m, 1.5 or 2Gi");
        }
        let nanos = nanos(whole, fraction, Unit::parse(suffix)?);
        if nanos > 0 && text.starts_with('-') {
            return Err("an amount can't be negative, write one from 0 on");
        }
        Ok(Self { nanos })
    }

    /// In thousandths, rounded up.
    pub(super) fn milli_up(self) -> u128 {
        self.nanos.div_ceil(1_000_000)
    }

    /// In thousandths, rounded down.
    pub(super) fn milli_down(self) -> u128 {
        self.nanos / 1_000_000
    }

    /// In whole units, rounded up.
    pub(super) fn units_up(self) -> u128 {
        self.nanos.div_ceil(NANOS)
    }

    /// In whole units, rounded down.
    pub(super) fn units_down(self) -> u128 {
        self.nanos / NANOS
    }

    /// Whether it is a number of whole units.
    pub(super) fn is_whole(self) -> bool {
        self.nanos.is_multiple_of(NANOS)
    }

    /// The sum. What would overflow stays at a number far above what is ever accepted.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos) }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:09}", self.nanos % NANOS);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{}", self.nanos / NANOS),
            digits => write!(f, "{}.{digits}", self.nanos / NANOS),
        }
    }
}

/// What a suffix multiplies by: 2^`twos` × 10^`tens`.
#[derive(Clone, Copy)]
struct Unit {
    twos: u32,
    tens: i64,
}

impl Unit {
    fn parse(suffix: &str) -> Result<Self, &'static str> {
        let tens = |tens| Ok(Self { twos: 0, tens });
        let twos = |twos| Ok(Self { twos, tens: 0 });
        match suffix {
            "n" => tens(-9),
            "u" => tens(-6),
            "m" => tens(-3),
            "" => tens(0),
            "k" => tens(3),
            "M" => tens(6),
            "G" => tens(9),
            "T" => tens(12),
            "P" => tens(15),
            "E" => tens(18),
            "Ki" => twos(10),
            "Mi" => twos(20),
            "Gi" => twos(30),
            "Ti" => twos(40),
            "Pi" => twos(50),
            "Ei" => twos(60),
            _ => match suffix.strip_prefix(['e', 'E']).map(str::parse) {
                Some(Ok(exponent)) => tens(exponent),
                _ => Err(
                    "the unit is none of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, correct it",
                ),
            },
        }
    }
}

/// The value of these digits before and after the point, in billionths rounded up.
fn nanos(whole: &str, fraction: &str, unit: Unit) -> u128 {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
    let Some(first) = digits.iter().position(|digit| *digit != 0) else {
        return 0;
    };
    let (first, length) = (signed(first), signed(digits.len()));
    let point = signed(whole.len()).saturating_add(unit.tens);
    // Digits before the point, without leading zeros. From 20 on the cap is reached; below -40
    // even the greatest unit leaves less than a billionth.
    let leading = point.saturating_sub(first);
    if leading >= 20 {
        return MAX_NANOS;
    }
    if leading < -40 {
        return 1;
    }
    let digit = |place: i64| {
        usize::try_from(place).ok().and_then(|place| digits.get(place)).map_or(0, |d| u64::from(*d))
    };
    let number = |from: i64, to: i64| (from..to).fold(0, |n, place| n * 10 + digit(place));
    let mut units = u128::from(number(first, point));
    let mut limbs: Vec<u64> = (point..length.max(point))
        .step_by(9)
        .map(|place| number(place, place.saturating_add(9)))
        .collect();
    for _ in 0..unit.twos / 10 {
        units = units * 1_024 + u128::from(times_1024(&mut limbs));
    }
    let (nano, finer) = limbs
        .split_first()
        .map_or((0, false), |(nano, finer)| (*nano, finer.iter().any(|limb| *limb != 0)));
    (units * NANOS + u128::from(nano) + u128::from(finer)).min(MAX_NANOS)
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Multiplies a fraction in limbs of nine digits, the greatest first; returns what becomes whole.
fn times_1024(limbs: &mut [u64]) -> u64 {
    limbs.iter_mut().rev().fold(0, |carry, limb| {
        let product = *limb * 1_024 + carry;
        *limb = product % 1_000_000_000;
        product / 1_000_000_000
    })
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as 500m or 2Gi")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
        Quantity::parse(text).map_err(|problem| E::custom(format_args!("is {text:?}: {problem}")))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    /// The shortest decimals that mean the same number, which is also what Kubernetes is sent.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
        if number.is_finite() {
            return self.visit_str(&number.to_string());
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const UNITS: [(&str, u128, u128); 16] = [
        ("n", 1, 1_000_000_000),
        ("u", 1, 1_000_000),
        ("m", 1, 1_000),
        ("", 1, 1),
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

    /// The same as one fraction of two integers. Everything is below 2^128: nine digits, a unit
    /// below 2^61 and a billion.
    fn model(digits: u128, after_point: u32, (_, times, over): (&str, u128, u128)) -> u128 {
        let below = 10_u128.pow(after_point) * over;
        (digits * times * NANOS).div_ceil(below).min(MAX_NANOS)
    }

    proptest! {
        #[test]
        fn it_is_the_exact_fraction_rounded_up(
            digits in 0..1_000_000_000_u128, after_point in 0..9_u32, unit in select(&UNITS[..])
        ) {
            let padded = format!("{digits:010}");
            let (whole, fraction) = padded.split_at(10 - after_point as usize);
            let text = format!("{whole}.{fraction}{}", unit.0);
            let read = Quantity::parse(&text).expect("well formed");
            prop_assert_eq!(read.nanos, model(digits, after_point, unit), "{}", text);
        }

        #[test]
        fn an_exponent_moves_the_point(
            digits in 0..1_000_000_000_u128, after_point in 0..9_u32, tens in -12..12_i32
        ) {
            let padded = format!("{digits:010}");
            let (whole, fraction) = padded.split_at(10 - after_point as usize);
            let power = 10_u128.pow(tens.unsigned_abs());
            let unit = if tens < 0 { ("", 1, power) } else { ("", power, 1) };
            for text in [format!("{whole}.{fraction}e{tens}"), format!("+{whole}.{fraction}E{tens:+}")] {
                let read = Quantity::parse(&text).expect("well formed");
                prop_assert_eq!(read.nanos, model(digits, after_point, unit), "{}", text);
            }
        }

        #[test]
        fn what_is_printed_reads_the_same(text in "[0-9]{0,9}\\.?[0-9]{0,12}(m|Ki|Gi|k|e-3|)") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(Quantity::parse(&quantity.to_string()), Ok(quantity));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9.]{0,60}[eEinumkMGTP]{0,3}[-+0-9]{0,20}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert!(quantity.nanos <= MAX_NANOS);
                prop_assert!(quantity.milli_down() <= quantity.milli_up());
                prop_assert!(quantity.units_up() - quantity.units_down() <= 1);
                prop_assert_eq!(quantity.is_whole(), quantity.units_up() == quantity.units_down());
            }
        }
    }

    #[test]
    fn forms_of_kubernetes() {
        let cases = [
            ("100m", 100),
            ("1.5", 1_500),
            (".5", 500),
            ("5.", 5_000),
            ("+2", 2_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("128M", 128_000_000_000),
            ("2Gi", 2_147_483_648_000),
            ("0.0001", 1),
            ("1n", 1),
            ("-0", 0),
            ("0e99999999999", 0),
        ];
        for (text, milli) in cases {
            assert_eq!(Quantity::parse(text).map(Quantity::milli_up), Ok(milli), "{text}");
        }
        assert_eq!(Quantity::parse("0.1Ki").map(Quantity::units_up), Ok(103));
        assert_eq!(Quantity::parse("0.1Ki").map(Quantity::units_down), Ok(102));
    }

    #[test]
    fn what_is_too_great_is_capped_and_what_is_too_fine_rounded_up() {
        let of = |text: &str| Quantity::parse(text).map(|quantity| quantity.nanos);
        for text in ["9Ei", "1e20", "1e999999999999", "99999999999999999999999999", "8Ei"] {
            assert_eq!(of(text), Ok(MAX_NANOS), "{text}");
        }
        assert_eq!(of("7Ei"), Ok((7 << 60) * NANOS));
        let long = format!("1.{}1", "0".repeat(10_000));
        for (text, nanos) in [
            ("1e-999999999999", 1),
            ("0.0000000001", 1),
            ("1.0000000001", NANOS + 1),
            (&long, NANOS + 1),
        ] {
            assert_eq!(of(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            ".",
            "-",
            "m",
            "1.2.3",
            "1 Gi",
            " 1",
            "1gi",
            "1K",
            "1e",
            "1e1.5",
            "0x1",
            "1ki",
            "NaN",
            "1,5",
            "٣",
            "1Mi ",
            "--1",
            "1e99999999999999999999",
            "1mm",
        ] {
            assert!(Quantity::parse(text).is_err(), "{text:?}");
        }
        for text in ["-1", "-0.0000000000001", "-1Gi"] {
            assert!(Quantity::parse(text).is_err_and(|said| said.contains("negative")), "{text}");
        }
    }
}

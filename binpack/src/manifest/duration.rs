//! Durations as Go and Karpenter write them.

/// The length of a duration such as `720h` or `1h30m`, in seconds rounded up; `None` is `Never`.
///
/// The form is that of Go's `time.ParseDuration`, without a sign. An error goes on from
/// `is "<text>": `.
pub(super) fn seconds_or_never(text: &str) -> Result<Option<u64>, &'static str> {
    if text == "Never" { Ok(None) } else { seconds(text).map(Some) }
}

/// The length of a duration in seconds, rounded up.
pub(super) fn seconds(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "write a duration, such as 720h or 1h30m";
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut picos) = (text, 0_u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(FORM)?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        picos = picos.saturating_add(part(number, unit).ok_or(FORM)?);
        rest = tail;
    }
    // Go keeps billionths in a signed 64-bit number, which is 292 years.
    if picos > i64::MAX as u128 * 1_000 {
        return Err("it is above 292 years, write a shorter one or Never");
    }
    let seconds = u64::try_from(picos.div_ceil(1_000_000_000_000)).map_err(|_| FORM)?;
    if text.is_empty() { Err(FORM) } else { Ok(seconds) }
}

/// A number with its unit in trillionths of a second; digits that are finer are cut off.
fn part(number: &str, unit: &str) -> Option<u128> {
    let picos: u128 = match unit {
        "h" => 3_600_000_000_000_000,
        "m" => 60_000_000_000_000,
        "s" => 1_000_000_000_000,
        "ms" => 1_000_000_000,
        "us" | "µs" | "μs" => 1_000_000,
        "ns" => 1_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digit = |byte: u8| u128::from(byte - b'0');
    let add = |n: u128, byte: u8| n.saturating_mul(10).saturating_add(digit(byte));
    let of_whole = whole.bytes().fold(0_u128, add);
    let (mut of_fraction, mut each) = (0, picos);
    for byte in fraction.bytes() {
        each /= 10;
        of_fraction += digit(byte) * each;
    }
    Some(of_whole.saturating_mul(picos).saturating_add(of_fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        let cases = [
            ("720h", 2_592_000),
            ("1h30m", 5_400),
            ("90s", 90),
            ("1.5h", 5_400),
            (".5m", 30),
            ("100ms", 1),
            ("2000us", 1),
            ("0s", 0),
            ("0", 0),
            ("1h1m1s", 3_661),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        assert_eq!(seconds_or_never("Never"), Ok(None));
        assert_eq!(seconds_or_never("1m"), Ok(Some(60)));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "720",
            "h",
            "1d",
            "-1h",
            "1 h",
            "1h-",
            "1.2.3h",
            ".h",
            "never",
            "5hm",
            "9999999999999h",
        ] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}

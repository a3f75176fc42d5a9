//! Numbers in header fields: octal text, or base-256 where the first bit is set.

/// The value of a numeric field, `None` where it is no number or does not fit.
pub(super) fn signed(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field).and_then(|value| i64::try_from(value).ok()),
    }
}

/// The same for a field that can't be negative.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    signed(field).and_then(|value| u64::try_from(value).ok())
}

/// GNU's extension: a big-endian two's complement number whose first bit only marks it.
fn base256(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    // The second bit is the sign; extend it over the marking bit.
    let first = if first & 0x40 == 0 { first & 0x7f } else { first };
    let start = i128::from(first.cast_signed());
    let value = rest.iter().try_fold(start, |value, &byte| {
        let next = (value << 8) | i128::from(byte);
        i64::try_from(next).is_ok().then_some(next)
    })?;
    i64::try_from(value).ok()
}

/// Octal digits between spaces, ended by a space, a NUL or the field; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
    text.trim_ascii().iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        assert_eq!(unsigned(b"0000644\0"), Some(0o644));
        assert_eq!(unsigned(b"   755 \0"), Some(0o755));
        assert_eq!(unsigned(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(unsigned(b"\0\0\0\0"), Some(0));
        assert_eq!(unsigned(b""), Some(0));
        assert_eq!(unsigned(b"12a4\0"), None);
        assert_eq!(unsigned(b"-12\0"), None);
        assert_eq!(unsigned(&[b'7'; 64]), None);
    }

    #[test]
    fn base256_fields() {
        assert_eq!(unsigned(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Some(1 << 33));
        assert_eq!(signed(&[0xff; 12]), Some(-1));
        assert_eq!(signed(&[0xff, 0xff, 0xff, 0xfe]), Some(-2));
        assert_eq!(unsigned(&[0xff; 12]), None);
        let huge = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(unsigned(&huge), None);
        assert_eq!(signed(&[0x80, 0x7f, 0xff]), Some(0x7fff));
    }
}

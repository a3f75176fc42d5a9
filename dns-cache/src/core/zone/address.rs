//! Addresses as names: reverse lookups and dashed labels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::core::wire::Name;

/// The address that a name under in-addr.arpa or ip6.arpa, in lower case, stands for, if it is
/// a whole one (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub(super) fn of_reverse(name: &Name) -> Option<IpAddr> {
    let wire = name.as_wire();
    if wire.ends_with(b"\x07in-addr\x04arpa\0") {
        of_octets(name).map(IpAddr::V4)
    } else if wire.ends_with(b"\x03ip6\x04arpa\0") {
        of_nibbles(name).map(IpAddr::V6)
    } else {
        None
    }
}

fn of_octets(name: &Name) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut labels = name.labels();
    for octet in octets.iter_mut().rev() {
        let text = std::str::from_utf8(labels.next()?).ok()?;
        *octet = text.parse().ok()?;
        // Only the canonical spelling is the name of an address.
        if octet.to_string() != text {
            return None;
        }
    }
    (labels.count() == 2).then(|| octets.into())
}

fn of_nibbles(name: &Name) -> Option<Ipv6Addr> {
    let mut labels = name.labels();
    let mut bits = 0u128;
    for place in 0..32 {
        let &[digit] = labels.next()? else { return None };
        bits |= u128::from(char::from(digit).to_digit(16)?) << (place * 4);
    }
    (labels.count() == 2).then(|| bits.into())
}

/// The label that an address without a host name has: dots and colons become dashes.
pub(super) fn to_dashed(address: IpAddr) -> String {
    let mut text = address.to_string().replace(['.', ':'], "-");
    // A label does not begin or end with a dash (RFC 1123 section 2.1); zeros keep the meaning.
    if text.starts_with('-') {
        text.insert(0, '0');
    }
    if text.ends_with('-') {
        text.push('0');
    }
    text
}

/// The address that a dashed label stands for.
pub(super) fn of_dashed(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let v4 = Ipv4Addr::from_str(&text.replace('-', ".")).map(IpAddr::V4);
    v4.or_else(|_| Ipv6Addr::from_str(&text.replace('-', ":")).map(IpAddr::V6)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reverse(text: &str) -> Option<String> {
        of_reverse(&text.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn only_whole_canonical_names_are_addresses() {
        assert_eq!(reverse("10.0.96.10.in-addr.arpa").as_deref(), Some("10.96.0.10"));
        for bad in [
            "0.96.10.in-addr.arpa",
            "1.10.0.96.10.in-addr.arpa",
            "010.0.96.10.in-addr.arpa",
            "+1.0.96.10.in-addr.arpa",
            "256.0.0.1.in-addr.arpa",
            "10.0.96.10.arpa",
        ] {
            assert_eq!(reverse(bad), None, "{bad}");
        }
        let nibbles = format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23));
        assert_eq!(reverse(&nibbles).as_deref(), Some("2001:db8::1"));
    }

    proptest! {
        #[test]
        fn dashed_labels_round_trip(address in any::<IpAddr>()) {
            let label = to_dashed(address);
            prop_assert!(label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-'));
            // An IPv4-mapped address prints with dots and has no way back.
            prop_assume!(!address.to_string().contains('.') || address.is_ipv4());
            prop_assert_eq!(of_dashed(label.as_bytes()), Some(address));
        }
    }
}

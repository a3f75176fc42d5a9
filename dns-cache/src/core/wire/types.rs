//! The numbers of the IANA registries that this crate acts on.

use std::fmt;

/// A record's type (RFC 1035 section 3.2.2 and the IANA registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

/// A record's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class(pub u16);

/// A response code without its extended bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rcode(pub u8);

macro_rules! numbers {
    ($type:ident, $($name:ident = $value:literal, $doc:literal;)*) => {
        impl $type {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => f.write_str(stringify!($name)),)*
                    other => write!(f, "{}{other}", Self::PREFIX),
                }
            }
        }
    };
}

impl RecordType {
    const PREFIX: &'static str = "TYPE";
}

impl Class {
    const PREFIX: &'static str = "CLASS";
}

impl Rcode {
    const PREFIX: &'static str = "RCODE";
}

numbers! { RecordType,
    A = 1, "An IPv4 address.";
    NS = 2, "A name server.";
    CNAME = 5, "An alias.";
    SOA = 6, "The start of a zone.";
    PTR = 12, "A pointer, as in reverse lookups.";
    HINFO = 13, "Host information; the minimal answer to ANY (RFC 8482).";
    MX = 15, "A mail exchange.";
    TXT = 16, "Text.";
    AAAA = 28, "An IPv6 address.";
    SRV = 33, "A service's location (RFC 2782).";
    OPT = 41, "The pseudo-record of EDNS (RFC 6891).";
    IXFR = 251, "An incremental zone transfer.";
    AXFR = 252, "A zone transfer.";
    ANY = 255, "Any type.";
}

numbers! { Class,
    IN = 1, "The Internet.";
    CH = 3, "Chaos.";
    ANY = 255, "Any class.";
}

numbers! { Rcode,
    NOERROR = 0, "The query was answered.";
    FORMERR = 1, "The query was malformed.";
    SERVFAIL = 2, "The server could not answer.";
    NXDOMAIN = 3, "The name does not exist.";
    NOTIMP = 4, "The server does not know this kind of query.";
    REFUSED = 5, "The server's policy forbids the answer.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_numbers_print_as_rfc_3597_asks() {
        assert_eq!(RecordType::AAAA.to_string(), "AAAA");
        assert_eq!(RecordType(731).to_string(), "TYPE731");
        assert_eq!(Class(9).to_string(), "CLASS9");
        assert_eq!(Rcode::NXDOMAIN.to_string(), "NXDOMAIN");
    }
}

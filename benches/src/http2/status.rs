//! gRPC's status codes.

/// Done.
pub const OK: u8 = 0;
/// Nothing is known.
pub const UNKNOWN: u8 = 2;
/// Too late.
pub const DEADLINE_EXCEEDED: u8 = 4;
/// The server has broken a rule.
pub const INTERNAL: u8 = 13;
/// The server cannot be reached, or not now.
pub const UNAVAILABLE: u8 = 14;

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A code's name.
#[must_use]
pub fn name(code: u8) -> &'static str {
    NAMES.get(usize::from(code)).copied().unwrap_or("a status that gRPC does not know")
}

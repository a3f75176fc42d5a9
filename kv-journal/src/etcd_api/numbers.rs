//! The API's numbers are signed, the store's are not. Neither revisions nor counts reach 2^63, and
//! no server sends what is negative.

/// What is beyond is beyond every revision and count.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is negative is none.
#[cfg(feature = "etcd-store")]
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

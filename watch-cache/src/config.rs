//! Settings as plain data, each with its default, its range and the reason.

use std::fmt::Display;

use crate::error::{Error, ErrorKind, Result};

/// A setting's default and the least and the most that `open` accepts.
#[derive(Debug, Clone, Copy)]
pub struct Limit<T> {
    /// The value of [`Config::default`].
    pub default: T,
    /// The least value that is accepted.
    pub min: T,
    /// The greatest value that is accepted.
    pub max: T,
}

impl<T: PartialOrd + Display + Copy> Limit<T> {
    fn check(&self, field: &str, value: T) -> Result<()> {
        if value >= self.min && value <= self.max {
            return Ok(());
        }
        let (min, max) = (self.min, self.max);
        Err(Error::new(ErrorKind::Invalid, format!("config: {field} is {value}: set it to {min}..={max}")))
    }
}

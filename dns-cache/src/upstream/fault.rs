//! A decorator that does to another upstream what networks and attackers do.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{HEADER_BYTES, Upstream, question};
use crate::error::{Error, ErrorKind, Result};

/// How often each fault happens, in percent, and how long an exchange is delayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// The answer never comes: `TimedOut`.
    pub loss_percent: u8,
    /// The answer has another id.
    pub wrong_id_percent: u8,
    /// The answer is about another name.
    pub wrong_question_percent: u8,
    /// The answer has TC set and no records.
    pub truncation_percent: u8,
    /// Every exchange takes so long, a lost one too.
    pub delay: Duration,
}

/// An upstream with faults, drawn from a seed.
#[derive(Debug)]
pub struct FaultUpstream<U> {
    inner: U,
    faults: Mutex<Faults>,
    random: Mutex<StdRng>,
}

impl<U> FaultUpstream<U> {
    /// Puts `faults` in front of `inner`.
    pub fn new(inner: U, faults: Faults, seed: u64) -> Self {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        Self { inner, faults: Mutex::new(faults), random }
    }

    /// Changes the faults from here on.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    fn strikes(&self, percent: u8) -> bool {
        percent > 0 && self.random.lock().random_range(0..100) < percent
    }
}

#[async_trait]
impl<U: Upstream> Upstream for FaultUpstream<U> {
    async fn exchange(&self, query: Bytes) -> Result<Bytes> {
        let faults = *self.faults.lock();
        if !faults.delay.is_zero() {
            tokio::time::sleep(faults.delay).await;
        }
        let answer = self.inner.exchange(query).await?;
        if self.strikes(faults.loss_percent) {
            return Err(Error::new(ErrorKind::TimedOut, "the answer was lost: retry later"));
        }
        let mut answer = BytesMut::from(answer);
        if self.strikes(faults.wrong_id_percent) {
            flip(&mut answer, 0);
        }
        if self.strikes(faults.wrong_question_percent) {
            // The first letter of the first label.
            flip(&mut answer, HEADER_BYTES + 1);
        }
        if self.strikes(faults.truncation_percent) {
            truncate(&mut answer);
        }
        Ok(answer.freeze())
    }
}

fn flip(answer: &mut [u8], at: usize) {
    if let Some(byte) = answer.get_mut(at) {
        *byte ^= 1;
    }
}

fn truncate(answer: &mut BytesMut) {
    let Some(len) = question(answer).map(|question| HEADER_BYTES + question.len()) else { return };
    answer.truncate(len);
    if let Some(counts) = answer.get_mut(6..HEADER_BYTES) {
        counts.fill(0);
    }
    if let Some(flags) = answer.get_mut(2) {
        *flags |= 2;
    }
}

//! Capped exponential backoff with seeded jitter.

use std::time::Duration;

/// Pauses that double up to a cap, each between half and the whole of its step, so that many
/// caches of one source don't come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
    state: u64,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self { first, cap: cap.max(first), failures: 0, state: seed }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = (self.failures + 1).min(31);
        let step = self.first.saturating_mul(factor).min(self.cap);
        let jitter = u32::try_from(self.random() >> 48).unwrap_or(0);
        step / 2 + (step / 2).saturating_mul(jitter) / 65_536
    }

    /// Splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_again() {
        let (first, cap) = (Duration::from_millis(20), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, cap, 7);
        for failure in 0..40 {
            let step = first.saturating_mul(1_u32 << failure.min(20)).min(cap);
            let pause = backoff.failed();
            assert!(pause >= step / 2 && pause <= step, "{failure}: {pause:?} of {step:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed() <= first);
    }

    #[test]
    fn the_seed_decides() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(9), seed);
            [backoff.failed(), backoff.failed()]
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}

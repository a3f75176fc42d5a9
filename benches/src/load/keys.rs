//! Keys and values, without an allocation for either.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::args::Shape;

/// The keys of a load: a prefix and a number, as wide as asked.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    key: Vec<u8>,
    digits: usize,
    count: u64,
    /// The seed if the order is random.
    random: Option<u64>,
}

impl Keys {
    /// Fails if the keys do not fit into their size.
    pub(super) fn new(shape: &Shape) -> Result<Self, String> {
        let digits = shape.key_size.saturating_sub(shape.prefix.len());
        let fits = u32::try_from(digits).ok().map(|digits| 10_u64.checked_pow(digits));
        if shape.keys == 0 || fits.is_none_or(|most| most.is_some_and(|most| most < shape.keys)) {
            let (keys, size) = (shape.keys, shape.key_size);
            return Err(format!(
                "{keys} keys of {size} bytes under {:?}: there are none",
                shape.prefix
            ));
        }
        let mut key = shape.prefix.clone().into_bytes();
        key.resize(shape.key_size, b'0');
        Ok(Self {
            key,
            digits,
            count: shape.keys,
            random: (!shape.sequential).then_some(shape.seed),
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The number of the key of the `n`th call.
    pub(super) fn number(&self, n: u64) -> u64 {
        self.random.map_or(n, |seed| scatter(seed.wrapping_add(n))) % self.count
    }

    /// The key with a number.
    pub(super) fn key(&mut self, mut number: u64) -> &[u8] {
        let at = self.key.len() - self.digits;
        for digit in self.key[at..].iter_mut().rev() {
            *digit = b'0' + (number % 10).to_le_bytes()[0];
            number /= 10;
        }
        &self.key
    }
}

/// Values: pieces of one random block.
#[derive(Debug, Clone)]
pub(super) struct Values {
    block: Vec<u8>,
    len: usize,
}

/// So many values differ.
const VALUES: usize = 4096;

impl Values {
    pub(super) fn new(shape: &Shape) -> Self {
        let mut block = vec![0; VALUES + shape.value_size];
        StdRng::seed_from_u64(shape.seed).fill_bytes(&mut block);
        Self { block, len: shape.value_size }
    }

    /// The value of the `n`th call.
    pub(super) fn value(&self, n: u64) -> &[u8] {
        let at = usize::try_from(n % VALUES as u64).unwrap_or_default();
        &self.block[at..at + self.len]
    }
}

/// `SplitMix64`: a number that looks random, and is another one for each `n`.
pub(super) fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    fn keys(options: &str) -> Result<Keys, String> {
        Keys::new(&Load::of_line(&format!("put --prefix /k/ {options}")).unwrap().shape)
    }

    #[test]
    fn keys_have_their_size_and_number() {
        let mut keys = keys("--key-size 8 --keys 100000 --sequential").unwrap();
        assert_eq!(keys.key(42), b"/k/00042");
        assert_eq!((keys.number(5), keys.number(100_005)), (5, 5));
    }

    #[test]
    fn the_same_seed_gives_the_same_keys() {
        let numbers = |options| {
            let keys = keys(options).unwrap();
            (0..1000).map(|n| keys.number(n)).collect::<Vec<_>>()
        };
        assert_eq!(numbers("--keys 10 --seed 1"), numbers("--keys 10 --seed 1"));
        assert_ne!(numbers("--keys 10 --seed 1"), numbers("--keys 10 --seed 5000"));
        assert!((0..10).all(|n| numbers("--keys 10").contains(&n)));
    }

    #[test]
    fn keys_that_do_not_fit_are_refused() {
        assert!(keys("--key-size 8 --keys 100001").is_err());
        assert!(keys("--key-size 2").is_err());
        assert!(keys("--keys 0").is_err());
    }
}

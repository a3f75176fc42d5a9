//! Tokens without a meaning of their own: the server remembers whose they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;
use tonic::Status;

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// As many as in etcd's.
const LEN: usize = 16;
/// How often tokens that ran out are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Tokens that live in memory, for a time after each use. As in etcd, a restart forgets them, and
/// clients authenticate again.
pub(super) struct SimpleTokens {
    ttl: Duration,
    number: AtomicU64,
    known: Mutex<KnownTokens>,
}

#[derive(Default)]
struct KnownTokens {
    by_token: HashMap<String, Owner>,
    swept: Option<Instant>,
}

struct Owner {
    name: String,
    until: Instant,
}

impl SimpleTokens {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, number: AtomicU64::new(0), known: Mutex::default() }
    }

    /// A new token of the user.
    pub(super) fn assign(&self, name: &str) -> Result<String, Status> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let token = format!("{}.{number}", letters()?);
        let now = Instant::now();
        let mut known = self.known.lock();
        if known.swept.is_none_or(|swept| now - swept >= SWEEP) {
            known.by_token.retain(|_, owner| owner.until > now);
            known.swept = Some(now);
        }
        let owner = Owner { name: name.to_owned(), until: now + self.ttl };
        known.by_token.insert(token.clone(), owner);
        Ok(token)
    }

    /// Whose it is. Its time begins again.
    pub(super) fn owner(&self, token: &str) -> Option<String> {
        let now = Instant::now();
        let mut known = self.known.lock();
        let owner = known.by_token.get_mut(token).filter(|owner| owner.until > now)?;
        owner.until = now + self.ttl;
        Some(owner.name.clone())
    }

    /// Forgets the tokens of a user.
    pub(super) fn forget(&self, name: &str) {
        self.known.lock().by_token.retain(|_, owner| owner.name != name);
    }

    pub(super) fn forget_all(&self) {
        self.known.lock().by_token.clear();
    }
}

fn letters() -> Result<String, Status> {
    let random = SystemRandom::new();
    let mut token = String::with_capacity(LEN);
    while token.len() < LEN {
        let mut bytes = [0; LEN];
        let failed = |_| Status::internal("the system has no randomness for a token");
        random.fill(&mut bytes).map_err(failed)?;
        // What is beyond the last letter is left out, so that every letter is as likely.
        let drawn = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte & 63)));
        token.extend(drawn.take(LEN - token.len()).map(|letter| char::from(*letter)));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_for_a_time_after_each_use() {
        let tokens = SimpleTokens::new(Duration::from_secs(300));
        let (a, b) = (tokens.assign("a").unwrap(), tokens.assign("b").unwrap());
        assert_ne!(a, b);
        assert!(a.ends_with(".1") && a.len() == LEN + 2, "{a}");
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(299)).await;
            assert_eq!(tokens.owner(&a).as_deref(), Some("a"));
        }
        assert_eq!(tokens.owner(&b), None, "it was not used");
        tokens.forget("b");
        assert!(tokens.owner(&a).is_some());
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(tokens.owner(&a), None);
        tokens.assign("c").unwrap();
        assert_eq!(tokens.known.lock().by_token.len(), 1, "the others are gone");
    }
}

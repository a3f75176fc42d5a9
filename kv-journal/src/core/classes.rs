//! Which writes may be acknowledged before they are durable.

use super::key_range::KeyRange;
use super::request::{Op, Txn};
use crate::config::{DurabilityClass, PrefixClass};

/// The durability class of every key: that of the longest prefix that is given for it.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// The longest prefix first.
    prefixes: Vec<PrefixClass>,
}

impl Classes {
    pub(crate) fn new(prefixes: &[PrefixClass]) -> Self {
        let mut prefixes = prefixes.to_vec();
        prefixes.sort_by_key(|class| std::cmp::Reverse(class.prefix.len()));
        Self { prefixes }
    }

    /// Whether `txn` writes something, in whichever branch, and only where that is relaxed.
    pub(crate) fn is_relaxed(&self, txn: &Txn) -> bool {
        !self.prefixes.is_empty() && writes(txn) && self.all_relaxed(txn)
    }

    fn all_relaxed(&self, txn: &Txn) -> bool {
        txn.success.iter().chain(&txn.failure).all(|op| match op {
            Op::Range(_) => true,
            Op::Put(put) => self.relaxed_prefix(&put.key).is_some(),
            Op::Delete(delete) => self.is_relaxed_range(&delete.range),
            Op::Txn(nested) => self.all_relaxed(nested),
        })
    }

    fn relaxed_prefix(&self, key: &[u8]) -> Option<&PrefixClass> {
        let class = self.prefixes.iter().find(|class| key.starts_with(&class.prefix))?;
        (class.class == DurabilityClass::Relaxed).then_some(class)
    }

    /// Whether the whole range lies in one relaxed prefix and meets no durable one inside it.
    fn is_relaxed_range(&self, range: &KeyRange) -> bool {
        let Some(relaxed) = self.relaxed_prefix(range.start()) else {
            return false;
        };
        let durable_inside = |class: &PrefixClass| {
            class.class == DurabilityClass::Durable
                && class.prefix.starts_with(&relaxed.prefix)
                && KeyRange::prefix(class.prefix.clone()).meets(range)
        };
        KeyRange::prefix(relaxed.prefix.clone()).covers(range)
            && !self.prefixes.iter().any(durable_inside)
    }
}

fn writes(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Range(_) => false,
        Op::Put(_) | Op::Delete(_) => true,
        Op::Txn(nested) => writes(nested),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Classes {
        Classes::new(&[
            PrefixClass::relaxed("events/"),
            PrefixClass::durable("events/audit/"),
            PrefixClass::relaxed("events/audit/noise/"),
        ])
    }

    fn delete(start: &'static str, end: &'static str) -> Op {
        Op::delete(KeyRange::range(start, end))
    }

    #[test]
    fn the_longest_prefix_decides() {
        let classes = classes();
        let put = |key: &'static str| classes.is_relaxed(&Txn::new().then(Op::put(key, "")));
        assert!(put("events/a") && put("events/audit/noise/a"));
        assert!(!put("events/audit/a") && !put("event") && !put("pods/a"));
    }

    #[test]
    fn a_transaction_is_relaxed_only_as_a_whole() {
        let classes = classes();
        let put = |key: &'static str| Op::put(key, "");
        let relaxed = |txn: &Txn| classes.is_relaxed(txn);
        let both = Txn::new().then(put("events/a")).or_else(put("events/b")).then(Op::get("pods"));
        assert!(relaxed(&both));
        assert!(!relaxed(&both.clone().or_else(put("pods/a"))));
        assert!(!relaxed(&both.clone().then(Op::Txn(Txn::new().or_else(put("pods/a"))))));
        assert!(relaxed(&both.then(Op::Txn(Txn::new().or_else(put("events/c"))))));
        assert!(!relaxed(&Txn::new().then(Op::get("events/a")))); // writes nothing
    }

    #[test]
    fn a_delete_is_relaxed_only_where_every_key_of_it_is() {
        let classes = classes();
        let relaxed = |op: Op| classes.is_relaxed(&Txn::new().then(op));
        assert!(relaxed(Op::delete(KeyRange::key("events/a"))));
        assert!(relaxed(delete("events/b", "events/c")));
        assert!(relaxed(delete("events/b", "events0"))); // up to the end of the prefix
        assert!(!relaxed(delete("events/b", "events1")));
        assert!(!relaxed(delete("event", "events/c")));
        assert!(!relaxed(Op::delete(KeyRange::from("events/b"))));
        assert!(!relaxed(Op::delete(KeyRange::prefix("events/")))); // holds the durable one
        assert!(!relaxed(delete("events/a", "events/audit/a")));
        assert!(relaxed(delete("events/a", "events/audit/")));
        assert!(relaxed(Op::delete(KeyRange::prefix("events/audit/noise/"))));
    }
}

//! The algebra of requirements: the set of values that a label may have.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Operator, Requirement, malformed};

/// The values that satisfy a set of requirements on one key, "absent" being one of them.
///
/// It is closed under [`intersect`](Self::intersect), which is exact: a label satisfies the
/// intersection if and only if it satisfies both sides.
///
/// ```
/// use binpack::{Domain, Requirement};
///
/// let large = Domain::of(&Requirement::greater_than("cpu", 8))?;
/// let small = Domain::of(&Requirement::less_than("cpu", 10))?;
/// let nine = large.intersect(&small);
/// assert!(nine.allows(Some("9")) && !nine.allows(Some("10")) && !nine.allows(None));
/// assert!(nine.intersect(&Domain::of(&Requirement::is_in("cpu", ["10"]))?).is_empty());
/// # Ok::<(), binpack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Whether an absent label satisfies it.
    absent: bool,
    present: Present,
}

/// The values that a label which is present may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Present {
    /// One of these.
    Only(BTreeSet<Arc<str>>),
    /// Any but these, and an integer within the bounds if there are any.
    AllBut(BTreeSet<Arc<str>>, Option<(i64, i64)>),
}

impl Domain {
    /// Everything, absence included: what no requirement at all means.
    #[must_use]
    pub fn any() -> Self {
        Self { absent: true, present: Present::AllBut(BTreeSet::new(), None) }
    }

    /// What satisfies one requirement.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the requirement's values don't go with its operator.
    pub fn of(requirement: &Requirement) -> Result<Self> {
        if let Some(problem) = malformed(requirement) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("requirement `{requirement}`: {problem}"),
            ));
        }
        let values = || requirement.values.iter().cloned().collect::<BTreeSet<_>>();
        let bound = || requirement.values.first().and_then(|value| value.parse::<i64>().ok());
        let absent = matches!(requirement.operator, Operator::NotIn | Operator::DoesNotExist);
        let present = match requirement.operator {
            Operator::In => Present::Only(values()),
            Operator::NotIn => Present::AllBut(values(), None),
            Operator::Exists => Present::AllBut(BTreeSet::new(), None),
            Operator::DoesNotExist => Present::Only(BTreeSet::new()),
            Operator::Gt => within(bound().and_then(|n| n.checked_add(1)), Some(i64::MAX)),
            Operator::Lt => within(Some(i64::MIN), bound().and_then(|n| n.checked_sub(1))),
        };
        Ok(Self { absent, present })
    }

    /// What satisfies both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let present = match (&self.present, &other.present) {
            (Present::Only(values), _) => keep(values, other),
            (_, Present::Only(values)) => keep(values, self),
            (Present::AllBut(a, a_bounds), Present::AllBut(b, b_bounds)) => {
                let bounds = match (*a_bounds, *b_bounds) {
                    (Some((a, b)), Some((c, d))) => Some((a.max(c), b.min(d))),
                    (one, other) => one.or(other),
                };
                match bounds {
                    Some((low, high)) if low > high => Present::Only(BTreeSet::new()),
                    _ => Present::AllBut(a.union(b).cloned().collect(), bounds),
                }
            }
        };
        Self { absent: self.absent && other.absent, present }
    }

    /// Whether a label with this value, or without one, satisfies it.
    #[must_use]
    pub fn allows(&self, value: Option<&str>) -> bool {
        let Some(value) = value else {
            return self.absent;
        };
        match &self.present {
            Present::Only(values) => values.contains(value),
            Present::AllBut(values, bounds) => {
                let inside = |(low, high): (i64, i64)| {
                    value.parse::<i64>().is_ok_and(|n| low <= n && n <= high)
                };
                !values.contains(value) && bounds.is_none_or(inside)
            }
        }
    }

    /// Whether nothing satisfies it: the requirements contradict each other.
    ///
    /// An integer has more than one spelling (`4`, `04`), so a bound that is not itself empty
    /// leaves something.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.absent && matches!(&self.present, Present::Only(values) if values.is_empty())
    }
}

fn within(low: Option<i64>, high: Option<i64>) -> Present {
    match low.zip(high) {
        Some(bounds) => Present::AllBut(BTreeSet::new(), Some(bounds)),
        None => Present::Only(BTreeSet::new()),
    }
}

fn keep(values: &BTreeSet<Arc<str>>, allowed: &Domain) -> Present {
    Present::Only(values.iter().filter(|value| allowed.allows(Some(value))).cloned().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that a label can be in the small world of these tests.
    const UNIVERSE: [Option<&str>; 9] = [
        None,
        Some("a"),
        Some("b"),
        Some("-1"),
        Some("0"),
        Some("1"),
        Some("2"),
        Some("02"),
        Some(""),
    ];

    fn any_requirement() -> impl Strategy<Value = Requirement> {
        let value = prop::sample::select(vec!["a", "b", "-1", "0", "1", "2", "02", ""]);
        let values = prop::collection::vec(value, 1..4);
        prop_oneof![
            values.clone().prop_map(|v| Requirement::is_in("k", v)),
            values.prop_map(|v| Requirement::not_in("k", v)),
            Just(Requirement::exists("k")),
            Just(Requirement::does_not_exist("k")),
            (-2..4i64).prop_map(|n| Requirement::greater_than("k", n)),
            (-2..4i64).prop_map(|n| Requirement::less_than("k", n)),
        ]
    }

    /// Kubernetes' words, said once more without any algebra.
    fn holds(requirement: &Requirement, value: Option<&str>) -> bool {
        let listed = |v: &str| requirement.values.iter().any(|listed| &**listed == v);
        let bound = || requirement.values[0].parse::<i64>().unwrap();
        let number = value.and_then(|v| v.parse::<i64>().ok());
        match requirement.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => number.is_some_and(|n| n > bound()),
            Operator::Lt => number.is_some_and(|n| n < bound()),
        }
    }

    proptest! {
        #[test]
        fn an_intersection_allows_what_every_side_allows(
            requirements in prop::collection::vec(any_requirement(), 0..5),
        ) {
            let domains: Vec<Domain> = requirements.iter().map(|r| Domain::of(r).unwrap()).collect();
            let all = domains.iter().fold(Domain::any(), |all, one| all.intersect(one));
            let mut some = false;
            for value in UNIVERSE {
                let expected = requirements.iter().all(|r| holds(r, value));
                prop_assert_eq!(all.allows(value), expected, "{:?}", value);
                some |= expected;
            }
            prop_assert!(!(some && all.is_empty()), "not empty, for something satisfies it");
        }

        #[test]
        fn intersection_is_a_semilattice(a in any_requirement(), b in any_requirement(), c in any_requirement()) {
            let [a, b, c] = [a, b, c].map(|r| Domain::of(&r).unwrap());
            prop_assert_eq!(a.intersect(&b), b.intersect(&a));
            prop_assert_eq!(a.intersect(&b).intersect(&c), a.intersect(&b.intersect(&c)));
            prop_assert_eq!(a.intersect(&a), a.clone());
            prop_assert_eq!(a.intersect(&Domain::any()), a);
        }
    }

    #[test]
    fn contradictions_are_empty_and_edges_of_integers_hold() {
        let of = |r: Requirement| Domain::of(&r).unwrap();
        assert!(
            of(Requirement::is_in("k", ["a"]))
                .intersect(&of(Requirement::is_in("k", ["b"])))
                .is_empty()
        );
        assert!(
            of(Requirement::greater_than("k", 3))
                .intersect(&of(Requirement::less_than("k", 4)))
                .is_empty()
        );
        assert!(of(Requirement::greater_than("k", i64::MAX)).is_empty());
        assert!(of(Requirement::less_than("k", i64::MIN)).is_empty());
        assert!(
            !of(Requirement::not_in("k", ["a"]))
                .intersect(&of(Requirement::does_not_exist("k")))
                .is_empty()
        );
        let malformed =
            Requirement { key: "k".into(), operator: Operator::Gt, values: vec!["x".into()] };
        assert_eq!(Domain::of(&malformed).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

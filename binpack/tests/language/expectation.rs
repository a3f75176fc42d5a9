//! What a case expects of a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use binpack::{ReasonKind, Relaxation, Resources, Taint};

use super::syntax::{amounts, label_key, taint};
use super::text::{Fault, Line};

/// The name of a pod or of several.
pub(crate) type Name = String;

/// How many there are of each value of a label.
pub(crate) type Counts = BTreeMap<String, usize>;

/// One thing that must be true of a plan.
#[derive(Debug)]
pub(crate) enum Expectation {
    AllPlaced,
    Placed(usize, Option<Name>),
    /// Some of these wait, and all that do have this reason, in whose words this text is.
    Unplaced(Name, ReasonKind, Option<String>),
    Launches(usize),
    LaunchesBy(Arc<str>, Counts),
    /// How many launches belong to each group; `-` are those of pools.
    LaunchesByGroup(Counts),
    /// A group that grows from one size to another.
    Grows(String, u64, u64),
    /// How many of the pods are on nodes with each value of a label.
    By(Name, Arc<str>, Counts),
    /// The same numbers, the greatest first, whatever the values.
    Per(Name, Arc<str>, Vec<usize>),
    OnExisting(Name, Name),
    OnLaunches(Name),
    /// Whether all of the one and all of the other are in one domain of a label, or no two are.
    Same(Name, Name, Arc<str>, bool),
    Cost(u64),
    CostAtMost(u64),
    Relaxed(Name, Vec<Relaxation>),
    NothingRelaxed,
    Tainted(Taint),
    AlternativesAtLeast(usize),
    Alternatives(Vec<String>),
    Gpus(Name, Vec<u32>),
    Overhead(Resources),
    Bound(u64),
    LeftOut(String),
    /// Exactly these are evicted; with the flag those whose budget is violated.
    Evicted(Vec<String>, bool),
    Error(String),
}

impl Expectation {
    /// The expectation that the rest of a line is; `known` tells the names of pods.
    pub(crate) fn read(line: &mut Line<'_>, known: &dyn Fn(&str) -> bool) -> Result<Self, Fault> {
        let word = line.word("an expectation")?;
        match word {
            "all" => line.must("placed").map(|()| Self::AllPlaced),
            "none" => line.must("placed").map(|()| Self::Placed(0, None)),
            "unplaced" => unplaced(line, known),
            "launches" => of_launches(line),
            "group" => {
                let group = line.word("a group")?.into();
                line.must("grows")?;
                let from = line.number("a size")?;
                Ok(Self::Grows(group, from, line.number("a size")?))
            }
            "cost" if line.take("at") => {
                line.must("most")?;
                Ok(Self::CostAtMost(line.amount("a cost", 1_000_000)?))
            }
            "cost" => Ok(Self::Cost(line.amount("a cost", 1_000_000)?)),
            "bound" => Ok(Self::Bound(line.amount("a bound", 1_000_000)?)),
            "left-out" => Ok(Self::LeftOut(line.word("what is left out")?.into())),
            "relaxed" if line.take("nothing") => Ok(Self::NothingRelaxed),
            "relaxed" => relaxed(line, known),
            "alternatives" if line.take("at") => {
                line.must("least")?;
                Ok(Self::AlternativesAtLeast(line.number("a number")?))
            }
            "alternatives" => {
                let names = line.word("types")?.split(',').filter(|name| *name != "-");
                Ok(Self::Alternatives(names.map(Into::into).collect()))
            }
            "evicted" | "beyond-budget" => {
                let names = line.word("pods")?.split(',').filter(|name| *name != "-");
                let mut names: Vec<String> = names.map(Into::into).collect();
                names.sort_unstable();
                Ok(Self::Evicted(names, word == "beyond-budget"))
            }
            "error" => Ok(Self::Error(line.word("a text")?.into())),
            number if number.parse::<usize>().is_ok() => counted(number, line, known),
            pods => of_pods(named(pods, line, known)?, line, known),
        }
    }
}

fn named(word: &str, line: &Line<'_>, known: &dyn Fn(&str) -> bool) -> Result<Name, Fault> {
    if known(word) { Ok(word.into()) } else { Err(line.fault(format!("there is no pod {word}"))) }
}

fn name(line: &mut Line<'_>, known: &dyn Fn(&str) -> bool) -> Result<Name, Fault> {
    let word = line.word("a pod")?;
    named(word, line, known)
}

/// `2 placed`, `2 placed of web` or `2 launches`.
fn counted(
    number: &str,
    line: &mut Line<'_>,
    known: &dyn Fn(&str) -> bool,
) -> Result<Expectation, Fault> {
    let number = number.parse().map_err(|_| line.fault("a number is expected"))?;
    if line.take("launches") || line.take("launch") {
        return Ok(Expectation::Launches(number));
    }
    line.must("placed")?;
    let of = if line.take("of") { Some(name(line, known)?) } else { None };
    Ok(Expectation::Placed(number, of))
}

/// `NAME reason KIND`, perhaps `words "…"`.
fn unplaced(line: &mut Line<'_>, known: &dyn Fn(&str) -> bool) -> Result<Expectation, Fault> {
    let name = name(line, known)?;
    line.must("reason")?;
    let kind = match line.word("a reason")? {
        "Contradiction" => ReasonKind::Contradiction,
        "Requirements" => ReasonKind::Requirements,
        "Taints" => ReasonKind::Taints,
        "Resources" => ReasonKind::Resources,
        "Limits" => ReasonKind::Limits,
        "Pods" => ReasonKind::Pods,
        "Gang" => ReasonKind::Gang,
        other => return Err(line.fault(format!("{other} is no reason"))),
    };
    let words = if line.take("words") { Some(line.word("a text")?.into()) } else { None };
    Ok(Expectation::Unplaced(name, kind, words))
}

/// `by KEY value=2 …`, `by group NAME=2 …`, `tainted TAINT` or `overhead AMOUNTS`.
fn of_launches(line: &mut Line<'_>) -> Result<Expectation, Fault> {
    match line.word("what of the launches")? {
        "by" if line.take("group") => Ok(Expectation::LaunchesByGroup(counts(line)?)),
        "by" => {
            let key = label_key(line.word("a label")?);
            Ok(Expectation::LaunchesBy(key, counts(line)?))
        }
        "tainted" => Ok(Expectation::Tainted(taint(line)?)),
        "overhead" => Ok(Expectation::Overhead(amounts(line, Resources::default())?)),
        other => Err(line.fault(format!("launches have no {other}"))),
    }
}

/// What is true of pods.
fn of_pods(
    of: Name,
    line: &mut Line<'_>,
    known: &dyn Fn(&str) -> bool,
) -> Result<Expectation, Fault> {
    match line.word("what of the pods")? {
        "by" => {
            let key = label_key(line.word("a label")?);
            Ok(Expectation::By(of, key, counts(line)?))
        }
        "per" => {
            let key = label_key(line.word("a label")?);
            let mut numbers = vec![line.number("a number")?];
            while let Some(number) = line.next() {
                let number = number.parse().map_err(|_| line.fault("a number is expected"))?;
                numbers.push(number);
            }
            Ok(Expectation::Per(of, key, numbers))
        }
        "on" if line.take("launches") => Ok(Expectation::OnLaunches(of)),
        "on" => Ok(Expectation::OnExisting(of, line.word("a node")?.into())),
        "same" => {
            let key = label_key(line.word("a label")?);
            line.must("as")?;
            Ok(Expectation::Same(of, name(line, known)?, key, true))
        }
        "other" => {
            let key = label_key(line.word("a label")?);
            line.must("than")?;
            Ok(Expectation::Same(of, name(line, known)?, key, false))
        }
        "gpus" => {
            let gpus = line.word("GPUs")?.split(',').map(str::parse).collect::<Result<_, _>>();
            Ok(Expectation::Gpus(of, gpus.map_err(|_| line.fault("a GPU is a number"))?))
        }
        other => Err(line.fault(format!("of pods nothing is known that begins with {other}"))),
    }
}

/// `NAME = Kind,Kind`; `-` is none.
fn relaxed(line: &mut Line<'_>, known: &dyn Fn(&str) -> bool) -> Result<Expectation, Fault> {
    let name = name(line, known)?;
    line.must("=")?;
    let word = line.word("what was given up")?;
    let kind = |word: &str| {
        Ok(match word {
            "NodeAffinityTerm" => Relaxation::NodeAffinityTerm,
            "PodAffinity" => Relaxation::PodAffinity,
            "PodAntiAffinity" => Relaxation::PodAntiAffinity,
            "NodeAffinity" => Relaxation::NodeAffinity,
            "ScheduleAnyway" => Relaxation::ScheduleAnyway,
            "PreferNoSchedule" => Relaxation::PreferNoSchedule,
            other => return Err(line.fault(format!("{other} is no preference"))),
        })
    };
    let kinds = word.split(',').filter(|word| *word != "-").map(kind);
    Ok(Expectation::Relaxed(name, kinds.collect::<Result<_, _>>()?))
}

fn counts(line: &mut Line<'_>) -> Result<Counts, Fault> {
    let mut counts = Counts::new();
    while let Some(word) = line.next() {
        let pair = word.split_once('=');
        let pair = pair.and_then(|(value, n)| Some((value.to_owned(), n.parse().ok()?)));
        let (value, n) = pair.ok_or_else(|| line.fault(format!("{word}: write value=2")))?;
        counts.insert(value, n);
    }
    Ok(counts)
}

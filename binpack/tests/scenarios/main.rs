//! Cases in text, one behaviour each: `cases/*.scenario`.
//!
//! Every case is planned under several configs. The plan must be what the case expects, break no
//! rule, prove its bound, and be the same when it is made again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panic"
)]

mod check;
#[path = "../language/mod.rs"]
mod language;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use binpack::{Config, ErrorKind, Fit, breaches, plan, verify};

use check::Outcome;
use language::case::Case;
use language::expectation::Expectation;

/// Every config by its name.
fn configs() -> [(&'static str, Config); 4] {
    let with = |iterations, fit| {
        let mut config = Config::default();
        (config.iterations, config.fit) = (iterations, fit);
        config
    };
    let usual = Config::default();
    [
        ("default", with(usual.iterations, Fit::Best)),
        ("quick", with(0, Fit::Best)),
        ("few", with(3, Fit::Best)),
        ("first", with(usual.iterations, Fit::First)),
    ]
}

/// What is wrong with the plan that a config makes, in lines.
fn problems(case: &Case, config: &Config) -> Vec<String> {
    let wanted = case.expectations.iter().find_map(|(_, expectation)| match expectation {
        Expectation::Error(words) => Some(words),
        _ => None,
    });
    let plan = match (plan(&case.input, config), wanted) {
        (Ok(plan), None) => plan,
        (Ok(_), Some(words)) => return vec![format!("no error, but expected `{words}`")],
        (Err(error), None) => return vec![format!("an error: {error}")],
        (Err(error), Some(words)) => {
            let right = error.kind() == ErrorKind::Invalid && error.to_string().contains(words);
            return if right { vec![] } else { vec![format!("another error: {error}")] };
        }
    };
    let mut found = Vec::new();
    found.extend(breaches(&case.input, &plan).iter().map(|breach| format!("breach: {breach}")));
    found.extend(verify(&case.input, &plan).err().map(|error| format!("certificate: {error}")));
    if binpack::plan(&case.input, config).ok().as_ref() != Some(&plan) {
        found.push("planned again it is another plan".into());
    }
    let outcome = Outcome::of(case, &plan);
    for (line, expectation) in &case.expectations {
        found.extend(outcome.problem(expectation).map(|problem| format!("line {line}: {problem}")));
    }
    found
}

/// What is wrong with a case, each with its configs; empty where nothing is.
fn failures(case: &Case) -> Vec<String> {
    let all = configs();
    let unknown = case.configs.iter().find(|name| all.iter().all(|(known, _)| name != known));
    if let Some(unknown) = unknown {
        return vec![format!("there is no config {unknown}")];
    }
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, mut config) in all {
        if !case.configs.is_empty() && !case.configs.iter().any(|wanted| wanted == name) {
            continue;
        }
        (config.preference, config.preemption) = (case.preference, case.preemption);
        config.expanders = case.expanders.clone().unwrap_or(config.expanders);
        for problem in problems(case, &config) {
            match found.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, configs)) => configs.push(name),
                None => found.push((problem, vec![name])),
            }
        }
    }
    found
        .into_iter()
        .map(|(problem, configs)| format!("{}: {problem}", configs.join(" ")))
        .collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Cases that fail and are known to: see `known.txt`.
fn known() -> Vec<String> {
    let text = fs::read_to_string(folder().join("known.txt")).expect("known.txt is there");
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(Into::into).collect()
}

/// Plans all cases of a file, and fails with the names of those that are not as expected.
fn run(name: &str) {
    let file = format!("{name}.scenario");
    let text = fs::read_to_string(folder().join("cases").join(&file)).expect("the file is there");
    let cases = Case::read(&file, &text).unwrap_or_else(|fault| panic!("{fault}"));
    let (known, mut report, mut failed) = (known(), String::new(), 0);
    for case in &cases {
        let found = failures(case);
        if known.contains(&case.name) {
            if found.is_empty() {
                writeln!(report, "{}: {}\n    passes: take it off known.txt", case.at, case.name)
                    .unwrap();
                failed += 1;
            }
            continue;
        }
        if !found.is_empty() {
            failed += 1;
            writeln!(report, "{}: {}\n    {}", case.at, case.name, found.join("\n    ")).unwrap();
        }
    }
    assert!(failed == 0, "{failed} of {} cases fail:\n{report}", cases.len());
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*
    };
}

files!(
    affinity,
    anti_affinity,
    daemons,
    existing_nodes,
    gpus,
    groups,
    host_ports,
    limits,
    min_values,
    node_affinity,
    offerings,
    packing,
    pools,
    preemption,
    preemption_of_gangs,
    preferences,
    priorities,
    reasons,
    refused,
    resources,
    spread,
    spread_hosts,
    taints,
    together,
    volumes,
);

#[test]
fn every_file_is_run_and_every_name_is_there_once() {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder().join("cases")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(FILES.contains(&&*file), "{file} is not run: add it to main.rs");
        let text = fs::read_to_string(&path).unwrap();
        names.extend(Case::read(&file, &text).unwrap().into_iter().map(|case| case.name));
    }
    for name in known() {
        assert!(names.contains(&name), "known.txt names `{name}`, which is no case");
    }
    let number = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), number, "two cases have one name");
    assert!(number >= 150, "{number} cases");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let fault = |text: &str| Case::read("f", text).expect_err("the file is wrong");
    let cases = [
        ("pool p", "f:1: pool must follow a case"),
        ("case a\n\nnonsense", "f:3: nothing is known of nonsense"),
        ("case a\npool p weight x", "f:2: a weight: x is no such number"),
        ("case a\npool p weigth 1", "f:2: a pool has no weigth"),
        ("case a\ntype t cpu 1 price 1 zones z", "f:2: there is no zone z"),
        ("case a\npods p 3 cpu 1", "f:2: 3 is no number: write x3"),
        ("case a\npod p cpu many", "f:2: cpu: many is no amount"),
        ("case a\npod p\n  cpu 1\n  near zone app=x", "f:2: `of` must stand where app=x is"),
        ("case a\nexpect x on n", "f:2: there is no pod x"),
        ("case a\nexpect 1 launches of", "f:2: nothing is known that begins with of"),
        ("case a\nruns r on n cpu 1", "f:2: there is no node n"),
        ("case a\nnode n cpu 1\nruns r on n cpu 2", "f:3: r does not fit on n"),
        ("case a\npod p labels app", "f:2: app is no label: write key=value"),
        ("case a\npod p\nexpect unplaced p reason Luck", "f:3: Luck is no reason"),
        ("case a\nexpect error \"x", "f:2: a quotation mark is not closed"),
        ("case a\ngroup g t size 3", "f:2: a group has no size"),
        ("case a\nexpanders random", "f:2: random is no expander"),
        ("case a\ngang g max 1", "f:2: `min` must stand where max is"),
        ("case a\nbudget b allows x of *", "f:2: a number of evictions: x is no such number"),
        ("case a\npool p", "f:1: the case expects nothing"),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(text), expected);
    }
}

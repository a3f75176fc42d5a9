//! SEMANTICS.md and the tests that it names.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `file::test` of every table row.
fn named_tests(semantics: &str) -> Vec<(String, String)> {
    semantics
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("::"))
        .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|name| {
            let (file, test) = name.split_once(".rs::")?;
            Some((format!("{file}.rs"), test.rsplit("::").next()?.to_owned()))
        })
        .collect()
}

#[test]
fn every_promise_has_its_test() {
    let semantics = std::fs::read_to_string(root().join("SEMANTICS.md")).unwrap();
    let named = named_tests(&semantics);
    assert!(
        named.len() >= 50,
        "only {} tests are named: was the table's form changed?",
        named.len()
    );
    let missing: Vec<_> = named
        .iter()
        .filter(|(file, test)| {
            let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            !source.contains(&format!("fn {test}("))
        })
        .collect();
    assert!(missing.is_empty(), "SEMANTICS.md names tests that do not exist: {missing:#?}");
}

#[test]
fn every_row_names_a_test() {
    let semantics = std::fs::read_to_string(root().join("SEMANTICS.md")).unwrap();
    let rows =
        semantics.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    let bare: Vec<_> = rows.filter(|row| !row.contains(".rs::")).collect();
    assert!(bare.is_empty(), "rows without a test: {bare:#?}");
}

/// The `rust` blocks of a crate's README are its quickstart, to the letter.
#[test]
fn quickstarts_are_the_readmes_code() {
    for part in ["kv-journal", "watch-cache", "lazy-blob", "binpack", "dns-cache"] {
        let readme = std::fs::read_to_string(root().join(part).join("README.md")).unwrap();
        let file = format!("examples/quickstart_{}.rs", part.replace('-', "_"));
        let quickstart = std::fs::read_to_string(root().join(&file)).unwrap();
        let code: String = quickstart
            .split_inclusive('\n')
            .skip_while(|line| line.starts_with("//!") || line.trim().is_empty())
            .collect();
        assert!(readme.contains(code.trim_end()), "{part}/README.md does not hold {file}");
    }
}

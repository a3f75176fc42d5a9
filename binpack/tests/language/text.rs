//! Lines and words of a scenario, and what is wrong with them.

use std::collections::VecDeque;
use std::fmt::Display;

/// What is wrong with a scenario, with its file and line.
pub(crate) type Fault = String;

/// A line of a file; lines that begin with a blank continue the one before.
#[derive(Debug, Clone)]
pub(crate) struct Line<'t> {
    file: &'t str,
    pub(crate) number: usize,
    words: VecDeque<&'t str>,
}

impl<'t> Line<'t> {
    /// The lines of a file that say something: `#` begins one that doesn't.
    pub(crate) fn all(file: &'t str, text: &'t str) -> Result<Vec<Self>, Fault> {
        let mut lines: Vec<Self> = Vec::new();
        for (at, raw) in text.lines().enumerate() {
            let mut line = Self { file, number: at + 1, words: VecDeque::new() };
            if raw.trim().is_empty() || raw.trim_start().starts_with('#') {
                continue;
            }
            line.words = words(raw).map_err(|problem| line.fault(problem))?;
            match lines.last_mut().filter(|_| raw.starts_with([' ', '\t'])) {
                Some(before) => before.words.append(&mut line.words),
                None => lines.push(line),
            }
        }
        Ok(lines)
    }

    pub(crate) fn fault(&self, problem: impl Display) -> Fault {
        format!("{}:{}: {problem}", self.file, self.number)
    }

    pub(crate) fn file(&self) -> &'t str {
        self.file
    }

    /// The next word, which must be there.
    pub(crate) fn word(&mut self, what: &str) -> Result<&'t str, Fault> {
        self.words.pop_front().ok_or_else(|| self.fault(format!("{what} is missing")))
    }

    /// The next word if there is one.
    pub(crate) fn next(&mut self) -> Option<&'t str> {
        self.words.pop_front()
    }

    /// Takes the next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.words.front() == Some(&word);
        if found {
            self.words.pop_front();
        }
        found
    }

    /// The next word must be this one.
    pub(crate) fn must(&mut self, word: &str) -> Result<(), Fault> {
        match self.words.pop_front() {
            Some(found) if found == word => Ok(()),
            found => {
                let found = found.unwrap_or("the end of the line");
                Err(self.fault(format!("`{word}` must stand where {found} is")))
            }
        }
    }

    /// All words that are left, as one text.
    pub(crate) fn rest(&mut self) -> String {
        self.words.drain(..).collect::<Vec<_>>().join(" ")
    }

    /// No word must be left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(self.fault(format!("nothing is known that begins with {word}"))),
        }
    }

    /// A whole number.
    pub(crate) fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N, Fault> {
        let word = self.word(what)?;
        word.parse().map_err(|_| self.fault(format!("{what}: {word} is no such number")))
    }

    /// An amount such as `1500m` or `4Gi` in units of which one has `per_one`.
    pub(crate) fn amount(&mut self, what: &str, per_one: u64) -> Result<u64, Fault> {
        let word = self.word(what)?;
        quantity(word, per_one).ok_or_else(|| self.fault(format!("{what}: {word} is no amount")))
    }
}

/// Words between blanks; what is between quotation marks is one word.
fn words(line: &str) -> Result<VecDeque<&str>, &'static str> {
    let mut words = VecDeque::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quotation mark is not closed")?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push_back(word);
        rest = after.trim_start();
    }
    Ok(words)
}

const SUFFIXES: [(&str, u64, u64); 5] = [
    ("m", 1, 1_000),
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
];

/// An amount with at most six digits behind the point.
pub(crate) fn quantity(text: &str, per_one: u64) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &text[number.len()..];
    let known = SUFFIXES.iter().find(|(name, ..)| *name == suffix);
    let (times, parts) = match suffix {
        "" => (1, 1),
        _ => known.map(|(_, times, parts)| (*times, *parts))?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 6 {
        return None;
    }
    let digits = format!("{fraction:0<6}").parse::<u64>().ok()?;
    let millionths = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(digits)?;
    let all = u128::from(millionths) * u128::from(times) * u128::from(per_one);
    u64::try_from(all / u128::from(parts) / 1_000_000).ok()
}

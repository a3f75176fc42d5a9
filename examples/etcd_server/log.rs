//! Lines of JSON on stderr, in the form of etcd's.

use std::fmt::Display;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// The least that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Panic,
    Fatal,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    least: Level,
}

impl Log {
    pub(crate) fn new(least: Level) -> Self {
        Self { least }
    }

    pub(crate) fn info(self, message: &str, fields: &[(&str, &dyn Display)]) {
        self.line(Level::Info, message, fields);
    }

    pub(crate) fn warn(self, message: &str, fields: &[(&str, &dyn Display)]) {
        self.line(Level::Warn, message, fields);
    }

    pub(crate) fn fatal(self, message: &str, fields: &[(&str, &dyn Display)]) {
        self.line(Level::Fatal, message, fields);
    }

    fn line(self, level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
        if level < self.least {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let level = level.to_possible_value();
        let mut line = Map::new();
        line.insert(
            "level".to_owned(),
            json!(level.as_ref().map(clap::builder::PossibleValue::get_name)),
        );
        line.insert("ts".to_owned(), json!(now.as_secs_f64()));
        line.insert("msg".to_owned(), json!(message));
        for (name, value) in fields {
            line.insert((*name).to_owned(), json!(value.to_string()));
        }
        // Nobody can be told that stderr is gone.
        let _gone = writeln!(std::io::stderr(), "{}", Value::Object(line));
    }
}

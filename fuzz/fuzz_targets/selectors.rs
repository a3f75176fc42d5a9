//! The text of selectors and of continue tokens: what is read is printed so that it reads the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use watch_cache::{ContinueToken, FieldSelector, LabelSelector};

fuzz_target!(|text: &str| {
    if let Ok(labels) = text.parse::<LabelSelector>() {
        assert_eq!(labels.to_string().parse::<LabelSelector>().unwrap(), labels);
    }
    if let Ok(fields) = text.parse::<FieldSelector>() {
        assert_eq!(fields.to_string().parse::<FieldSelector>().unwrap(), fields);
    }
    if let Ok(token) = text.parse::<ContinueToken>() {
        assert_eq!(token.to_string(), text);
    }
});

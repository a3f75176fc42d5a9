//! A range in its smallest form.

use crate::core::KeyRange;
use crate::core::key_range::End;

/// The keys of a [`KeyRange`], in half of its memory: an index holds a million of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    start: Box<[u8]>,
    end: Until,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Until {
    Single,
    Before(Box<[u8]>),
    Open,
}

impl Span {
    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    /// Start and end; `None` if the span is one key. Without an end it is open.
    pub(super) fn bounds(&self) -> Option<(&[u8], Option<&[u8]>)> {
        match &self.end {
            Until::Single => None,
            Until::Before(end) => Some((&self.start, Some(end))),
            Until::Open => Some((&self.start, None)),
        }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            Until::Single => *key == *self.start,
            Until::Before(end) => *key >= *self.start && *key < **end,
            Until::Open => *key >= *self.start,
        }
    }
}

impl From<&KeyRange> for Span {
    fn from(range: &KeyRange) -> Self {
        let end = match range.end() {
            End::Single => Until::Single,
            End::Before(end) => Until::Before(Box::from(&end[..])),
            End::Open => Until::Open,
        };
        Self { start: Box::from(&range.start()[..]), end }
    }
}

//! Lists of a whole prefix, at once, in pages or as a stream.

use super::args::List;
use super::tally::Found;
use super::workload::{Step, Workload};
use crate::etcd::answer::{self, HEADER, KVS, MORE, Part};
use crate::etcd::message::{Range, prefix_end};
use crate::http2::Method;

/// `RangeStreamResponse.range_response`.
const RANGE_RESPONSE: u64 = 1;
/// `KeyValue.key`.
const KEY: u64 = 1;

/// Lists of one prefix.
pub(super) struct Lists {
    list: List,
    prefix: Vec<u8>,
    end: Vec<u8>,
    clients: Vec<Page>,
    found: Found,
}

/// Where a client stands in its list.
#[derive(Debug, Clone, Default)]
struct Page {
    /// The last key that was read, and a zero byte: where the next page begins. Empty for the first.
    from: Vec<u8>,
    /// That of the first page.
    revision: u64,
    keys: u64,
    more: bool,
}

impl Lists {
    pub(super) fn new(list: List, prefix: &str, clients: usize) -> Self {
        let prefix = prefix.as_bytes().to_vec();
        let end = prefix_end(&prefix);
        Self { list, prefix, end, clients: vec![Page::default(); clients], found: Found::default() }
    }
}

impl Workload for Lists {
    fn next(&mut self, client: usize, message: &mut Vec<u8>) -> Step {
        let page = &mut self.clients[client];
        page.more = false;
        let key = if page.from.is_empty() { &self.prefix } else { &page.from };
        let range = Range {
            key,
            end: &self.end,
            limit: self.list.limit,
            revision: page.revision,
            serializable: self.list.reads.serializable(),
            ..Range::default()
        };
        range.encode(message);
        Step::Call(if self.list.stream { Method::RangeStream } else { Method::Range })
    }

    fn part(&mut self, client: usize, part: Part<'_>) -> bool {
        let page = &mut self.clients[client];
        match part {
            Part::Bytes(RANGE_RESPONSE, response) if self.list.stream => {
                let is_kv = |part: &Part<'_>| matches!(part, Part::Bytes(KVS, _));
                page.keys += answer::fields(response).filter(is_kv).count() as u64;
            }
            Part::Bytes(KVS, kv) => page.read(kv, self.list.limit > 0),
            Part::Bytes(HEADER, header) if self.list.limit > 0 && page.revision == 0 => {
                page.revision = answer::number_of(header, answer::REVISION);
            }
            Part::Number(MORE, more) => page.more = more != 0,
            _ => {}
        }
        false
    }

    fn is_last(&mut self, client: usize) -> bool {
        let page = &mut self.clients[client];
        if self.list.limit > 0 && page.more {
            return false;
        }
        self.found.keys += page.keys;
        self.found.misses += u64::from(page.keys == 0);
        page.restart();
        true
    }

    fn failed(&mut self, client: usize) {
        self.clients[client].restart();
    }

    fn found(&self) -> Found {
        self.found
    }
}

impl Page {
    fn read(&mut self, kv: &[u8], remember: bool) {
        self.keys += 1;
        if remember {
            self.from.clear();
            self.from.extend_from_slice(answer::bytes_of(kv, KEY));
            self.from.push(0);
        }
    }

    fn restart(&mut self) {
        self.from.clear();
        (self.revision, self.keys, self.more) = (0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use crate::load::args::Job;

    fn lists(line: &str) -> Lists {
        let Job::List(list) = Load::of_line(line).unwrap().job else { panic!("no list") };
        Lists::new(list, "/a/", 1)
    }

    #[test]
    fn pages_go_on_behind_the_last_key_at_the_first_revision() {
        let mut lists = lists("list --limit 1");
        let mut message = Vec::new();
        lists.next(0, &mut message);
        assert_eq!(&message[5..], b"\x0a\x03/a/\x12\x03/a0\x18\x01");
        lists.part(0, Part::Bytes(HEADER, b"\x18\x07"));
        lists.part(0, Part::Bytes(KVS, b"\x0a\x04/a/k"));
        lists.part(0, Part::Number(MORE, 1));
        assert!(!lists.is_last(0));
        message.clear();
        lists.next(0, &mut message);
        assert_eq!(&message[5..], b"\x0a\x05/a/k\0\x12\x03/a0\x18\x01\x20\x07");
        assert!(lists.is_last(0));
        assert_eq!(lists.found().keys, 1);
    }

    #[test]
    fn keys_of_a_stream_are_counted_and_an_empty_list_is_a_miss() {
        let mut lists = lists("list --stream");
        lists.part(0, Part::Bytes(RANGE_RESPONSE, b"\x12\x01a\x12\x01b"));
        assert!(lists.is_last(0) && lists.is_last(0));
        assert_eq!((lists.found().keys, lists.found().misses), (2, 1));
    }
}

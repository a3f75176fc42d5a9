//! What a client sends little by little: one object after the other.

use std::mem;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::json;

/// The requests of one call.
pub(super) struct Requests {
    body: Incoming,
    kind: MessageDescriptor,
    objects: Objects,
    /// What came and was not looked at.
    rest: Bytes,
}

impl Requests {
    /// Each has at most so many bytes.
    pub(super) fn new(body: Incoming, kind: MessageDescriptor, most: usize) -> Self {
        Self { body, kind, objects: Objects { most, ..Objects::default() }, rest: Bytes::new() }
    }

    /// As they go over gRPC.
    pub(super) fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send {
        unfold(Some(self), |requests| async {
            let mut requests = requests?;
            match requests.next().await.transpose()? {
                Ok(request) => Some((Ok(Frame::data(request)), Some(requests))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(text) = self.objects.take(&mut self.rest)? {
                return json::frame(&self.kind, &text).map(Some);
            }
            match self.body.frame().await {
                None if self.objects.is_between() => return Ok(None),
                None => return Err(Status::invalid_argument("unexpected EOF")),
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(Status::cancelled(error.to_string())),
            }
        }
    }
}

/// Finds where objects end, looking at each byte once.
#[derive(Debug, Default)]
struct Objects {
    text: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    most: usize,
}

impl Objects {
    /// The next object once it is complete. What belongs to it is taken from `rest`.
    fn take(&mut self, rest: &mut Bytes) -> Result<Option<Vec<u8>>, Status> {
        let end = rest.iter().position(|byte| self.ends_with(*byte));
        let part = rest.split_to(end.map_or(rest.len(), |end| end + 1));
        self.text.extend_from_slice(&part);
        if self.text.len() > self.most {
            return Err(Status::invalid_argument("the request is too large"));
        }
        Ok(end.map(|_| mem::take(&mut self.text)))
    }

    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' => self.depth += 1,
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    fn is_between(&self) -> bool {
        self.text.trim_ascii().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &[u8], at: &[usize]) -> Vec<String> {
        let mut objects = Objects { most: 1000, ..Objects::default() };
        let mut found = Vec::new();
        let mut from = 0;
        for end in at.iter().copied().chain([text.len()]) {
            let mut part = Bytes::copy_from_slice(&text[from..end]);
            from = end;
            while let Some(object) = objects.take(&mut part).unwrap() {
                found.push(String::from_utf8(object).unwrap());
            }
        }
        assert!(objects.is_between());
        found
    }

    proptest! {
        #[test]
        fn objects_are_found_wherever_they_are_cut(
            cuts in prop::collection::btree_set(0..60usize, 0..8),
        ) {
            let text = br#"{"a":{"b":"}{\"\\"}} {}  {"c":[{},{"d":"\\\"}"}]}  "#;
            let cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            let expected = [r#"{"a":{"b":"}{\"\\"}}"#, " {}", r#"  {"c":[{},{"d":"\\\"}"}]}"#];
            prop_assert_eq!(split(text, &cuts), expected);
        }
    }

    #[test]
    fn an_object_without_an_end_takes_no_more_than_it_may() {
        let mut objects = Objects { most: 10, ..Objects::default() };
        assert_eq!(objects.take(&mut Bytes::from_static(b"{\"aaaaaa")).unwrap(), None);
        assert!(objects.take(&mut Bytes::from_static(b"aaaa")).is_err());
    }
}

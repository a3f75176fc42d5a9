//! The header fields of requests, ready made.

/// What can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in etcd's API")]
pub enum Method {
    Put,
    Range,
    RangeStream,
    Txn,
    Watch,
    LeaseGrant,
    LeaseKeepAlive,
}

const METHODS: usize = 7;

impl Method {
    fn path(self) -> &'static str {
        match self {
            Self::Put => "/etcdserverpb.KV/Put",
            Self::Range => "/etcdserverpb.KV/Range",
            Self::RangeStream => "/etcdserverpb.KV/RangeStream",
            Self::Txn => "/etcdserverpb.KV/Txn",
            Self::Watch => "/etcdserverpb.Watch/Watch",
            Self::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
            Self::LeaseKeepAlive => "/etcdserverpb.Lease/LeaseKeepAlive",
        }
    }
}

/// Our side of the compression. A field is sent as a literal once and by its index from then on, as
/// the gRPC clients of etcd's users do it; all of them together are far from the peer's limit, so
/// none is ever forgotten.
#[derive(Debug)]
pub(super) struct Requests {
    authority: String,
    /// The block of each method whose path is indexed.
    ready: [Option<Vec<u8>>; METHODS],
    /// How many fields are indexed; none ever if the peer's table is smaller than usual.
    indexed: Option<usize>,
    resized: bool,
}

/// `:method POST` and `:scheme http` by their index in the static table.
const POST_HTTP: [u8; 2] = [0x83, 0x86];
const STATIC: usize = 61;
const AUTHORITY: u8 = 1;
const PATH: u8 = 4;
const CONTENT_TYPE: u8 = 31;

impl Requests {
    /// For a peer whose table has at least so many bytes by default.
    pub(super) fn new(authority: String, indexing: bool) -> Self {
        let ready = [const { None }; METHODS];
        Self { authority, ready, indexed: indexing.then_some(0), resized: indexing }
    }

    /// Appends the block of a request.
    pub(super) fn append(&mut self, method: Method, out: &mut Vec<u8>) {
        match &self.ready[method as usize] {
            Some(block) => out.extend_from_slice(block),
            None => self.append_first(method, out),
        }
    }

    /// The first three fields that are indexed are the same in all requests: the authority, the
    /// type of the content, and `te`. Paths follow as they come.
    fn append_first(&mut self, method: Method, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.resized { &[] } else { &[0x20] });
        self.resized = true;
        out.extend_from_slice(&POST_HTTP);
        let known = self.indexed.unwrap_or_default();
        if known > 0 {
            out.extend((0..3).map(|place| by_index(known - place)));
        } else {
            self.literal(AUTHORITY, &self.authority, out);
            self.literal(CONTENT_TYPE, "application/grpc", out);
            self.literal(0, "te", out);
            string("trailers", out);
        }
        self.literal(PATH, method.path(), out);
        if let Some(indexed) = &mut self.indexed {
            *indexed = (*indexed).max(3) + 1;
            self.make_ready(method);
        }
    }

    /// Every field that is indexed after another moves that one's index by one.
    fn make_ready(&mut self, method: Method) {
        let Some(indexed) = self.indexed else { return };
        for block in self.ready.iter_mut().flatten() {
            block[2..].iter_mut().for_each(|index| *index += 1);
        }
        let common = (0..3).map(|place| by_index(indexed - place));
        let block = POST_HTTP.into_iter().chain(common).chain([by_index(1)]);
        self.ready[method as usize] = Some(block.collect());
    }

    /// A literal with a name of the static table, or with 0 as the name and the value to follow.
    fn literal(&self, name: u8, text: &str, out: &mut Vec<u8>) {
        match (self.indexed, name) {
            (Some(_), _) => out.push(0x40 | name),
            (None, ..15) => out.push(name),
            (None, _) => out.extend_from_slice(&[15, name - 15]),
        }
        string(text, out);
    }
}

/// The indexed field that was the `place`th to be indexed, counted back from the newest, which is 1.
fn by_index(place: usize) -> u8 {
    // Eleven fields at most.
    0x80 | u8::try_from(STATIC + place).unwrap_or_default()
}

/// A string that is not coded. Those here are far shorter than the 127 bytes of a one byte length,
/// but for an authority, which is any name.
fn string(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(len @ ..127) => out.push(len),
        _ => {
            let mut rest = text.len() - 127;
            out.push(127);
            while rest >= 128 {
                out.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            out.push(rest.to_le_bytes()[0]);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(requests: &mut Requests, method: Method) -> Vec<u8> {
        let mut out = Vec::new();
        requests.append(method, &mut out);
        out
    }

    #[test]
    fn fields_are_literals_once_and_indexes_from_then_on() {
        let mut requests = Requests::new("etcd:2379".to_owned(), true);
        let first = b"\x83\x86\x41\x09etcd:2379\x5f\x10application/grpc\x40\x02te\x08trailers\x44\x14/etcdserverpb.KV/Put";
        assert_eq!(block(&mut requests, Method::Put), first);
        // Newest first: the path is 62, te 63, the content's type 64, the authority 65.
        assert_eq!(block(&mut requests, Method::Put), b"\x83\x86\xc1\xc0\xbf\xbe");
        let range = b"\x83\x86\xc1\xc0\xbf\x44\x16/etcdserverpb.KV/Range";
        assert_eq!(block(&mut requests, Method::Range), range);
        assert_eq!(block(&mut requests, Method::Put), b"\x83\x86\xc2\xc1\xc0\xbf");
        assert_eq!(block(&mut requests, Method::Range), b"\x83\x86\xc2\xc1\xc0\xbe");
    }

    #[test]
    fn a_peer_with_a_small_table_gets_literals_each_time() {
        let mut requests = Requests::new("e".to_owned(), false);
        let fields = b"\x83\x86\x01\x01e\x0f\x10\x10application/grpc\0\x02te\x08trailers\x04\x14/etcdserverpb.KV/Put";
        assert_eq!(block(&mut requests, Method::Put)[..1], [0x20]);
        assert_eq!(block(&mut requests, Method::Put), fields);
    }
}

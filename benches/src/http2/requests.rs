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
    /// When each field was indexed, counted from 0; `None` if it was not yet.
    authority_at: Option<usize>,
    paths_at: [Option<usize>; METHODS],
    content_type_at: Option<usize>,
    te_at: Option<usize>,
    /// How many fields are indexed.
    indexed: usize,
    /// Not if the peer's table is smaller than usual.
    indexing: bool,
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
        Self {
            authority,
            authority_at: None,
            paths_at: [None; METHODS],
            content_type_at: None,
            te_at: None,
            indexed: 0,
            indexing,
            resized: indexing,
        }
    }

    /// Appends the block of a request. Fields that begin with a colon come first (RFC 9113,
    /// section 8.3).
    pub(super) fn append(&mut self, method: Method, out: &mut Vec<u8>) {
        if !self.resized {
            out.push(0x20);
            self.resized = true;
        }
        out.extend_from_slice(&POST_HTTP);
        self.authority_at = self.field(self.authority_at, AUTHORITY, &[&self.authority], out);
        self.indexed = self.count(self.authority_at);
        let path_at = self.paths_at[method as usize];
        let path_at = self.field(path_at, PATH, &[method.path()], out);
        self.paths_at[method as usize] = path_at;
        self.indexed = self.count(path_at);
        let grpc = ["application/grpc"];
        self.content_type_at = self.field(self.content_type_at, CONTENT_TYPE, &grpc, out);
        self.indexed = self.count(self.content_type_at);
        self.te_at = self.field(self.te_at, 0, &["te", "trailers"], out);
        self.indexed = self.count(self.te_at);
    }

    /// How many fields are indexed when the last of them may have been indexed at `at`.
    fn count(&self, at: Option<usize>) -> usize {
        self.indexed.max(at.map_or(0, |at| at + 1))
    }

    /// Appends a field by its index or, the first time, as a literal with a name of the static
    /// table, or with 0 and its name; says when it was indexed.
    fn field(
        &self,
        at: Option<usize>,
        name: u8,
        texts: &[&str],
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        if let Some(at) = at {
            // Counted back from the newest, which is 1; eleven fields at most.
            out.push(0x80 | u8::try_from(STATIC + self.indexed - at).unwrap_or_default());
            return Some(at);
        }
        match name {
            _ if self.indexing => out.push(0x40 | name),
            ..15 => out.push(name),
            _ => out.extend_from_slice(&[15, name - 15]),
        }
        for text in texts {
            string(text, out);
        }
        self.indexing.then_some(self.indexed)
    }
}

/// A string that is not coded. Those here are far shorter than the 127 bytes of a one byte length,
/// but for an authority, which is any name.
fn string(text: &str, out: &mut Vec<u8>) {
    if let Ok(len @ ..127) = u8::try_from(text.len()) {
        out.push(len);
    } else {
        let mut rest = text.len() - 127;
        out.push(127);
        while rest >= 128 {
            out.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        out.push(rest.to_le_bytes()[0]);
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
        let first = b"\x83\x86\x41\x09etcd:2379\x44\x14/etcdserverpb.KV/Put\x5f\x10application/grpc\x40\x02te\x08trailers";
        assert_eq!(block(&mut requests, Method::Put), first);
        // Newest first: te is 62, the content's type 63, the path 64, the authority 65.
        assert_eq!(block(&mut requests, Method::Put), b"\x83\x86\xc1\xc0\xbf\xbe");
        // The new path moves what comes after it in the block.
        let range = b"\x83\x86\xc1\x44\x16/etcdserverpb.KV/Range\xc0\xbf";
        assert_eq!(block(&mut requests, Method::Range), range);
        assert_eq!(block(&mut requests, Method::Put), b"\x83\x86\xc2\xc1\xc0\xbf");
        assert_eq!(block(&mut requests, Method::Range), b"\x83\x86\xc2\xbe\xc0\xbf");
    }

    #[test]
    fn a_peer_with_a_small_table_gets_literals_each_time() {
        let mut requests = Requests::new("e".to_owned(), false);
        let fields = b"\x83\x86\x01\x01e\x04\x14/etcdserverpb.KV/Put\x0f\x10\x10application/grpc\0\x02te\x08trailers";
        assert_eq!(block(&mut requests, Method::Put)[..1], [0x20]);
        assert_eq!(block(&mut requests, Method::Put), fields);
    }
}

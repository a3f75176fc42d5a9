//! The table of contents, taken from the archive as it streams past.

use super::BLOCK;
use super::header::{Header, corrupt};
use super::pax::Overrides;
use crate::config::IndexConfig;
use crate::core::entry::{Entry, EntryKind, Xattr};
use crate::core::path::normalise;
use crate::error::{Error, ErrorKind, Result};

/// Reads a tar stream in pieces of any size and keeps its entries.
///
/// It holds one header and the extended headers of one entry at a time; contents are skipped.
#[derive(Debug)]
pub(crate) struct TocParser {
    limits: Limits,
    /// Position in the archive.
    offset: u64,
    state: State,
    block: Box<[u8; BLOCK]>,
    /// Bytes of `block`, or of `extension`, that are filled.
    filled: usize,
    extension: Vec<u8>,
    global: Overrides,
    local: Overrides,
    has_local: bool,
    /// Where the first header of the entry in the making starts.
    header_offset: Option<u64>,
    entries: Vec<Entry>,
    /// Bytes of memory that `entries` take.
    memory: u64,
    /// Bytes of padding after the last entry's content.
    last_padding: u64,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: u64,
    path_bytes: u64,
    extension_bytes: u64,
    toc_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// An extended header of this type, with the bytes of it that are to come and its padding.
    Extension {
        kind: Extension,
        left: u64,
        padding: u64,
    },
    /// Maps of an old GNU sparse file.
    SparseMap {
        skip: u64,
    },
    /// Content and padding that are to be passed over.
    Content {
        left: u64,
    },
    /// Past the end marker, or past what is worth parsing.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    Local,
    Global,
    LongPath,
    LongLink,
}

impl TocParser {
    /// A parser at the start of an archive.
    #[must_use]
    pub(crate) fn new(config: &IndexConfig) -> Self {
        let limits = Limits {
            entries: config.max_entries,
            path_bytes: config.max_path_bytes,
            extension_bytes: config.max_extension_bytes,
            toc_bytes: config.max_toc_bytes,
        };
        Self {
            limits,
            offset: 0,
            state: State::Header,
            block: Box::new([0; BLOCK]),
            filled: 0,
            extension: Vec::new(),
            global: Overrides::default(),
            local: Overrides::default(),
            has_local: false,
            header_offset: None,
            entries: Vec::new(),
            memory: 0,
            last_padding: 0,
        }
    }

    /// Takes the next bytes of the archive.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) for what is no tar,
    /// [`Exhausted`](ErrorKind::Exhausted) beyond a limit. The parser is of no use afterwards.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let taken = match self.state {
                State::Header => self.take_header(bytes)?,
                State::Extension { kind, left, padding } => {
                    self.take_extension(bytes, kind, left, padding)?
                }
                State::SparseMap { skip } => self.take_sparse_map(bytes, skip),
                State::Content { left } => self.skip_content(bytes, left),
                State::End => bytes.len(),
            };
            self.offset += taken as u64;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// The entries of the whole archive.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the archive ends within an entry. Missing end
    /// markers are accepted, as every reader does.
    pub(crate) fn finish(self) -> Result<Vec<Entry>> {
        let whole = match self.state {
            State::Header => self.filled == 0 && !self.has_local,
            // Only padding may be missing.
            State::Content { left } => left <= self.last_padding,
            State::End => true,
            State::Extension { .. } | State::SparseMap { .. } => false,
        };
        if whole { Ok(self.entries) } else { Err(corrupt("it ends within an entry")) }
    }

    fn take_header(&mut self, bytes: &[u8]) -> Result<usize> {
        let (taken, full) = self.fill_block(bytes);
        if full {
            let start = self.offset + taken as u64 - BLOCK as u64;
            self.state = self.interpret_block(start)?;
        }
        Ok(taken)
    }

    fn fill_block(&mut self, bytes: &[u8]) -> (usize, bool) {
        let taken = bytes.len().min(BLOCK - self.filled);
        let target = self.block.get_mut(self.filled..self.filled + taken);
        if let (Some(target), Some(source)) = (target, bytes.get(..taken)) {
            target.copy_from_slice(source);
        }
        self.filled += taken;
        let full = self.filled == BLOCK;
        if full {
            self.filled = 0;
        }
        (taken, full)
    }

    fn interpret_block(&mut self, start: u64) -> Result<State> {
        if self.block.iter().all(|&byte| byte == 0) {
            // One zero block ends an archive for GNU tar too, which warns if it stands alone.
            return if self.has_local {
                Err(corrupt("it ends within an entry"))
            } else {
                Ok(State::End)
            };
        }
        let header = Header::parse(&self.block)?;
        let first = *self.header_offset.get_or_insert(start);
        match header.type_flag {
            b'x' | b'X' => self.expect_extension(Extension::Local, header.size),
            b'g' => self.expect_extension(Extension::Global, header.size),
            b'L' => self.expect_extension(Extension::LongPath, header.size),
            b'K' => self.expect_extension(Extension::LongLink, header.size),
            _ => self.add_entry(header, first, start + BLOCK as u64),
        }
    }

    fn expect_extension(&mut self, kind: Extension, size: u64) -> Result<State> {
        let limit = self.limits.extension_bytes;
        if size > limit {
            return Err(exhausted("an extended header", size, "max_extension_bytes", limit));
        }
        self.extension.clear();
        if kind != Extension::Global {
            self.has_local = true;
        } else if !self.has_local {
            self.header_offset = None;
        }
        let padding = padding(size);
        if size == 0 {
            return Ok(State::Header);
        }
        Ok(State::Extension { kind, left: size, padding })
    }

    fn take_extension(
        &mut self,
        bytes: &[u8],
        kind: Extension,
        left: u64,
        padding: u64,
    ) -> Result<usize> {
        let content = clamp(left, bytes.len());
        self.extension.extend_from_slice(bytes.get(..content).unwrap_or_default());
        let pad = clamp(padding, bytes.len() - content);
        let (left, padding) = (left - content as u64, padding - pad as u64);
        self.state = State::Extension { kind, left, padding };
        if left == 0 && padding == 0 {
            self.apply_extension(kind)?;
            self.state = State::Header;
        }
        Ok(content + pad)
    }

    fn apply_extension(&mut self, kind: Extension) -> Result<()> {
        let text = || self.extension.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            Extension::Local => self.local.apply(&self.extension)?,
            Extension::Global => self.global.apply(&self.extension)?,
            Extension::LongPath => self.local.path = Some(text()),
            Extension::LongLink => self.local.link_target = Some(text()),
        }
        let (seen, limit) = (self.local.xattr_bytes, self.limits.extension_bytes);
        let seen = seen.max(self.global.xattr_bytes);
        if seen > limit {
            return Err(exhausted("an entry's attributes", seen, "max_extension_bytes", limit));
        }
        Ok(())
    }

    fn add_entry(&mut self, header: Header, first: u64, content: u64) -> Result<State> {
        if self.entries.len() as u64 >= self.limits.entries {
            let count = self.entries.len() as u64 + 1;
            return Err(exhausted("the archive", count, "max_entries", self.limits.entries));
        }
        let local = std::mem::take(&mut self.local);
        let merged = Merged { local, global: &self.global };
        let sparse_maps = header.type_flag == b'S' && header.extended;
        let stored = merged.stored_bytes(&header);
        let mut entry = merged.entry(header, self.limits.path_bytes)?;
        (entry.header_offset, entry.offset) = (first, content);
        let skip = stored.checked_add(padding(stored)).filter(|skip| {
            content.checked_add(*skip).is_some_and(|end| i64::try_from(end).is_ok())
        });
        let skip = skip.ok_or_else(|| corrupt("an entry's size is beyond any file"))?;
        self.memory += entry.memory();
        if self.memory > self.limits.toc_bytes {
            let limit = self.limits.toc_bytes;
            return Err(exhausted("the table of contents", self.memory, "max_toc_bytes", limit));
        }
        self.last_padding = padding(stored);
        self.entries.push(entry);
        (self.has_local, self.header_offset) = (false, None);
        Ok(if sparse_maps { State::SparseMap { skip } } else { content_of(skip) })
    }

    /// Old GNU sparse files: maps follow the header, each with a mark for one more at byte 504.
    fn take_sparse_map(&mut self, bytes: &[u8], skip: u64) -> usize {
        let (taken, full) = self.fill_block(bytes);
        if full {
            if let Some(entry) = self.entries.last_mut() {
                entry.offset += BLOCK as u64;
            }
            if self.block.get(504) == Some(&0) {
                self.state = content_of(skip);
            }
        }
        taken
    }

    fn skip_content(&mut self, bytes: &[u8], left: u64) -> usize {
        let taken = clamp(left, bytes.len());
        self.state = content_of(left - taken as u64);
        taken
    }
}

impl Entry {
    /// Whether `headers`, the bytes from this entry's first header to its content, say what the
    /// table of contents says. What depends on a global header elsewhere is taken as it is.
    pub(crate) fn matches_headers(&self, headers: &[u8]) -> bool {
        // The headers are at hand, so no limit guards anything here.
        let mut parser = TocParser::new(&IndexConfig {
            max_path_bytes: u64::MAX,
            max_extension_bytes: u64::MAX,
            max_toc_bytes: u64::MAX,
            ..IndexConfig::default()
        });
        if self.global {
            return true;
        }
        let parsed = parser.push(headers).is_ok();
        parser.entries.first_mut().is_some_and(|seen| {
            seen.offset = seen.offset.saturating_add(self.header_offset);
            seen.header_offset = self.header_offset;
            parsed && seen == self
        })
    }
}

fn content_of(left: u64) -> State {
    if left == 0 { State::Header } else { State::Content { left } }
}

fn clamp(wanted: u64, available: usize) -> usize {
    usize::try_from(wanted).map_or(available, |wanted| wanted.min(available))
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn exhausted(what: &str, seen: u64, field: &str, limit: u64) -> Error {
    Error::new(
        ErrorKind::Exhausted,
        format!("tar: {what} has {seen}, the limit is {limit}: raise {field} if it is trusted"),
    )
}

/// A header with what extended headers say about it; local ones win over global ones.
struct Merged<'a> {
    local: Overrides,
    global: &'a Overrides,
}

impl Merged<'_> {
    /// Bytes of content after the header. The type byte decides, not the kind: what an old archive
    /// calls a directory by its name's slash is skipped as the file that it claims to be.
    fn stored_bytes(&self, header: &Header) -> u64 {
        match header.type_flag {
            b'1'..=b'6' => 0,
            _ => self.local.size.or(self.global.size).unwrap_or(header.size),
        }
    }

    fn entry(self, header: Header, max_path: u64) -> Result<Entry> {
        let size = self.stored_bytes(&header);
        let Self { local, global } = self;
        let path = local.path.or_else(|| global.path.clone()).unwrap_or(header.path);
        let link = local.link_target.or_else(|| global.link_target.clone());
        let link = link.unwrap_or(header.link_target);
        for text in [&path, &link] {
            if text.len() as u64 > max_path {
                return Err(exhausted("a path", text.len() as u64, "max_path_bytes", max_path));
            }
        }
        let kind = kind(header.type_flag, &path, local.sparse || global.sparse);
        let (mtime, mtime_nanos) = local.mtime.or(global.mtime).unwrap_or((header.mtime, 0));
        let mut xattrs = global.xattrs.clone();
        xattrs.extend(local.xattrs);
        let is_link = matches!(kind, EntryKind::Symlink | EntryKind::HardLink);
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        Ok(Entry {
            path: normalise(&path).into(),
            kind,
            size: if kind.has_content() { size } else { 0 },
            offset: 0,
            header_offset: 0,
            mode: header.mode,
            uid: local.uid.or(global.uid).unwrap_or(header.uid),
            gid: local.gid.or(global.gid).unwrap_or(header.gid),
            user: local.user.or_else(|| global.user.clone()).unwrap_or(header.user).into(),
            group: local.group.or_else(|| global.group.clone()).unwrap_or(header.group).into(),
            mtime,
            mtime_nanos,
            link_target: if is_link { link.into() } else { Box::default() },
            device: if is_device { header.device } else { (0, 0) },
            xattrs: xattrs.into_iter().map(xattr).collect(),
            global: *global != Overrides::default(),
        })
    }
}

fn xattr((name, value): (Vec<u8>, Vec<u8>)) -> Xattr {
    Xattr { name: name.into(), value: value.into() }
}

fn kind(type_flag: u8, path: &[u8], pax_sparse: bool) -> EntryKind {
    match type_flag {
        b'0' | 0 | b'7' if pax_sparse => EntryKind::Sparse,
        // Before POSIX a directory was a file whose name ends in a slash.
        0 | b'0' if path.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' => EntryKind::Regular,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'S' => EntryKind::Sparse,
        other => EntryKind::Other(other),
    }
}

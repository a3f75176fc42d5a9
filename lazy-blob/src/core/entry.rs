//! One member of the archive.

use std::borrow::Cow;
use std::ops::Range;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A file with bytes of its own.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link to [`Entry::link_target`].
    Symlink,
    /// Another name of the earlier entry that [`Entry::link_target`] names.
    HardLink,
    /// A character device with [`Entry::device`].
    CharDevice,
    /// A block device with [`Entry::device`].
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A sparse file, stored packed; listed, but not readable yet.
    Sparse,
    /// A member of another type, by its type byte; its bytes are as stored.
    Other(u8),
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Xattr {
    /// The name with its namespace: `security.capability`.
    pub name: Box<[u8]>,
    /// The value.
    pub value: Box<[u8]>,
}

/// A member of the archive, as its headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The path below the archive's root, any bytes, in one spelling: without `.` and `..` and
    /// outer slashes; empty for the root itself. See [`path_lossy`](Self::path_lossy).
    pub path: Box<[u8]>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of content; 0 for what has none, hard links included.
    pub size: u64,
    /// Where the content starts in the uncompressed archive.
    pub offset: u64,
    /// Where the first header of the entry starts in the uncompressed archive.
    pub header_offset: u64,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// The owner's name, empty where there is none.
    pub user: Box<[u8]>,
    /// The group's name, empty where there is none.
    pub group: Box<[u8]>,
    /// Modification time in whole seconds since 1970, rounded down.
    pub mtime: i64,
    /// Nanoseconds after `mtime`.
    pub mtime_nanos: u32,
    /// The target of a symbolic or hard link, empty for others.
    pub link_target: Box<[u8]>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Whether a PAX global header, which lies elsewhere, had a say in it.
    pub(crate) global: bool,
}

impl EntryKind {
    /// Go's `archive/tar` ignores the size of the other types, and so do the tools that unpack
    /// layers.
    pub(super) fn has_content(self) -> bool {
        matches!(self, Self::Regular | Self::Sparse | Self::Other(_))
    }
}

impl Entry {
    /// About how many bytes of memory it takes.
    pub(super) fn memory(&self) -> u64 {
        let texts = [&self.path, &self.user, &self.group, &self.link_target];
        let texts = texts.iter().map(|text| text.len()).sum::<usize>();
        let xattr = |it: &Xattr| size_of::<Xattr>() + it.name.len() + it.value.len();
        let xattrs = self.xattrs.iter().map(xattr).sum::<usize>();
        (size_of::<Self>() + texts + xattrs) as u64
    }

    /// The path as text, with what is no UTF-8 replaced.
    #[must_use]
    pub fn path_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }

    /// Whether [`read`](crate::Blob::read) gives its bytes; true for hard links too, which read
    /// the file that they name.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        matches!(self.kind, EntryKind::Regular | EntryKind::HardLink | EntryKind::Other(_))
    }

    /// Where the content lies in the uncompressed archive.
    #[must_use]
    pub fn content(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.size)
    }
}

//! The image that every pod starts from: a layer on disk and what its first files must read as.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ring::digest::{Context as Digest, SHA256};

use trestle_examples::fail::{Context, Fail, Result};

/// Bytes of files that the built-in image is made from.
const BUILT_BYTES: u64 = 64 << 20;
/// The largest file that goes into the built-in image.
const BUILT_FILE_BYTES: u64 = 4 << 20;
/// Bytes that a pod reads of its image before it runs, from the archive's first files.
const STARTUP_BYTES: u64 = 512 << 10;

/// The beginning of a file that a starting pod reads, with the digest that it must have.
#[derive(Debug, Clone)]
pub(crate) struct StartupFile {
    pub(crate) path: String,
    /// How many bytes of it are read, from its first on.
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

/// A layer on disk, and the files that a pod reads first.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) layer: PathBuf,
    pub(crate) layer_bytes: u64,
    pub(crate) startup: Vec<StartupFile>,
}

impl Image {
    /// Takes the layer that the user named.
    pub(crate) fn open(layer: &Path) -> Result<Self> {
        let name = || format!("image {}", layer.display());
        let layer_bytes = std::fs::metadata(layer).context(name)?.len();
        let file = File::open(layer).context(name)?;
        let startup = startup_files(BufReader::new(file))
            .context(|| format!("{} is not a readable .tar.gz", name()))?;
        if startup.is_empty() {
            return Err(Fail::new(format!("{} holds no regular file to start from", name())));
        }
        Ok(Self { layer: layer.to_owned(), layer_bytes, startup })
    }

    /// Builds a layer below `folder` from files of this machine.
    pub(crate) fn build(folder: &Path) -> Result<Self> {
        let layer = folder.join("layer.tar.gz");
        build_layer(&layer).context(|| format!("building the image {}", layer.display()))?;
        Self::open(&layer)
    }
}

/// Reads the layer from its start with a decoder that the suite has no part in.
fn startup_files(layer: impl Read) -> io::Result<Vec<StartupFile>> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(layer));
    let mut files = Vec::new();
    let mut left = STARTUP_BYTES;
    for entry in archive.entries()? {
        let entry = entry?;
        if !entry.header().entry_type().is_file() || entry.size() == 0 {
            continue;
        }
        let bytes = entry.size().min(left);
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let sha256 = sha256_of(&mut entry.take(bytes))?;
        files.push(StartupFile { path, bytes, sha256 });
        left -= bytes;
        if left == 0 {
            break;
        }
    }
    Ok(files)
}

fn sha256_of(reader: &mut impl Read) -> io::Result<[u8; 32]> {
    let mut digest = Digest::new(&SHA256);
    let mut buffer = [0; 8_192];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(finish(digest)),
            n => digest.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// SHA-256 of bytes in memory.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = Digest::new(&SHA256);
    digest.update(bytes);
    finish(digest)
}

fn finish(digest: Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest.finish().as_ref());
    out
}

fn build_layer(layer: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(layer)?);
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::new(6)));
    archive.follow_symlinks(false);
    let mut left = BUILT_BYTES;
    for root in machine_folders() {
        append_folder(&mut archive, &root, &mut left)?;
    }
    archive.into_inner()?.finish()?.flush()
}

/// Folders that hold programs and their data, on any machine that can build this one: the
/// system's, then the one that this program lies in.
fn machine_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["/usr/bin", "/usr/lib", "/usr/share"].iter().map(PathBuf::from).collect();
    if let Some(own) = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned))
    {
        folders.push(own);
    }
    folders
}

/// Appends the files of `folder` in the order of their names, folder by folder, while `left` bytes
/// allow; what can't be read is left out.
fn append_folder<W: Write>(
    archive: &mut tar::Builder<W>,
    folder: &Path,
    left: &mut u64,
) -> io::Result<()> {
    // Each folder gets at most half of what is left, so that the image is a mix of them.
    let mut own = *left / 2;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Ok(meta) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() && (1..=own.min(BUILT_FILE_BYTES)).contains(&meta.len()) {
                // A file that changes while it is read would break the archive: read it first.
                let Ok(bytes) = std::fs::read(&path) else {
                    continue;
                };
                append_file(archive, &path, &bytes)?;
                own = own.saturating_sub(bytes.len() as u64);
                *left = left.saturating_sub(bytes.len() as u64);
            }
        }
    }
    Ok(())
}

fn append_file<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &Path,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let name = path.strip_prefix("/").unwrap_or(path);
    archive.append_data(&mut header, name, bytes)
}

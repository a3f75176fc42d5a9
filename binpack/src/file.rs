//! Files that are read as a whole.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// What `read` makes of a file. Each error names the file.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] if there is no such file, [`ErrorKind::Unavailable`] if it can't be
/// opened, else as `read`.
pub(crate) fn read_file<T>(
    path: &Path,
    read: impl FnOnce(BufReader<File>) -> Result<T>,
) -> Result<T> {
    let file = File::open(path).map_err(|error| unopened(path, error))?;
    read(BufReader::new(file))
        .map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn unopened(path: &Path, error: io::Error) -> Error {
    let (kind, problem) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no such file"),
        _ => (ErrorKind::Unavailable, "the file can't be opened"),
    };
    Error::new(kind, format!("{}: {problem}: check the path", path.display())).with_source(error)
}

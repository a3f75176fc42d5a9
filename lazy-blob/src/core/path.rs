//! One spelling for each path of an archive.

use std::borrow::Cow;

/// The path without `.`, doubled and outer slashes, and with `..` applied; `..` above the root
/// stays at the root, as a layer's unpacking within a root directory does.
///
/// The root itself is the empty path.
pub(super) fn normalise(path: &[u8]) -> Cow<'_, [u8]> {
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    Cow::Owned(parts.join(&b'/'))
}

pub(super) fn is_normal(path: &[u8]) -> bool {
    path.is_empty()
        || path.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        for (raw, normal) in [
            ("", ""),
            ("/", ""),
            (".", ""),
            ("./a/b/", "a/b"),
            ("//a//b", "a/b"),
            ("a/./b/../c", "a/c"),
            ("../../etc/passwd", "etc/passwd"),
            ("a/..b/...", "a/..b/..."),
        ] {
            assert_eq!(normalise(raw.as_bytes()).as_ref(), normal.as_bytes(), "{raw}");
        }
    }
}

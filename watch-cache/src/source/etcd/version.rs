//! What a member's version says of its answers to requests for progress.

/// Whether a member answers a request for progress truly, and always. It does not before events
/// that the answer covers were sent (etcd#15220, fixed in 3.4.25 and 3.5.8), nor leaves a watch without
/// an answer that began before what happened last (etcd#17507, fixed in 3.4.31 and 3.5.13). What is no
/// version is not trusted.
pub(super) fn answers_progress(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').splitn(3, '.');
    let mut number = || {
        let text = numbers.next()?;
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end)?.parse::<u64>().ok()
    };
    let (Some(major), Some(minor), Some(patch)) = (number(), number(), number()) else {
        return false;
    };
    match (major, minor) {
        (3, 4) => patch >= 31,
        (3, 5) => patch >= 13,
        _ => (major, minor) > (3, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_a_known_bug_are_not_trusted() {
        for trusted in ["3.4.31", "3.4.37", "3.5.13", "3.5.13+git", "v3.6.0", "3.6.0-rc.1", "4.0.0"]
        {
            assert!(answers_progress(trusted), "{trusted}");
        }
        for not in
            ["3.3.27", "3.4.23", "3.4.30", "3.5.8", "3.5.12", "", "3", "3.6", "a.b.c", "3.x.9"]
        {
            assert!(!answers_progress(not), "{not}");
        }
    }
}

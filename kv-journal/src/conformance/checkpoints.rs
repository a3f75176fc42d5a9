//! The contract of [`CheckpointStore`] as checks, as those of the journal are.
//!
//! ```
//! use kv_journal::{MemoryCheckpoints, conformance};
//!
//! let passed = conformance::run(async {
//!     conformance::checkpoints::reads(&MemoryCheckpoints::new()).await
//! });
//! assert_eq!(passed, Ok(()));
//! ```

use std::fmt;

use bytes::Bytes;

use super::{Checked, Item, Running, Violation};
use crate::checkpoint::{CheckpointInfo, CheckpointStore};
use crate::error::ErrorKind;

/// A check, as a value. It wants checkpoints that nothing was done to.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its function's name.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a dyn CheckpointStore) -> Running<'a>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// All checks, in the order of the contract's items.
pub const CHECKS: [Check; 8] = [
    Check { name: "list", run: |store| Box::pin(list(store)) },
    Check { name: "atomic", run: |store| Box::pin(atomic(store)) },
    Check { name: "committed", run: |store| Box::pin(committed(store)) },
    Check { name: "replace", run: |store| Box::pin(replace(store)) },
    Check { name: "reads", run: |store| Box::pin(reads(store)) },
    Check { name: "remove", run: |store| Box::pin(remove(store)) },
    Check { name: "side_by_side", run: |store| Box::pin(side_by_side(store)) },
    Check { name: "definite_errors", run: |store| Box::pin(definite_errors(store)) },
];

/// Makes a module of one test for each check.
///
/// The second argument is an expression, evaluated inside a tokio runtime, for a future of fresh
/// checkpoints and of what must live as long as they (a temporary directory, or `()`).
///
/// ```
/// use kv_journal::{MemoryCheckpoints, checkpoint_conformance};
///
/// checkpoint_conformance!(memory, async { (MemoryCheckpoints::new(), ()) });
/// ```
#[macro_export]
macro_rules! checkpoint_conformance {
    ($module:ident, $fresh:expr) => {
        $crate::checkpoint_conformance!(
            @tests $module, $fresh,
            list atomic committed replace reads remove side_by_side definite_errors
        );
    };
    (@tests $module:ident, $fresh:expr, $($check:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the expression may need what surrounds it")]
            use super::*;
            $(
                #[test]
                fn $check() -> Result<(), $crate::conformance::Violation> {
                    $crate::conformance::run(async {
                        let (checkpoints, _kept) = $fresh.await;
                        $crate::conformance::checkpoints::$check(&checkpoints).await
                    })
                }
            )*
        }
    };
}

/// Item 1: what is there, once, the newest first.
///
/// # Errors
/// The violation found.
pub async fn list(store: &dyn CheckpointStore) -> Checked {
    let item = Item("1");
    expect_list(item, store, &[]).await?;
    let all = [(7, 3), (9, 0), (u64::MAX >> 1, 8), (8, 1)];
    for (id, len) in all {
        commit(item, store, id, &[content(id, len)]).await?;
    }
    expect_list(item, store, &[(u64::MAX >> 1, 8), (9, 0), (8, 1), (7, 3)]).await
}

/// Item 2: nothing before the commit, and nothing of a writer that is dropped.
///
/// # Errors
/// The violation found.
pub async fn atomic(store: &dyn CheckpointStore) -> Checked {
    let item = Item("2");
    let mut writer = item.ok("begin", store.begin(5).await)?;
    item.ok("write", writer.write(content(5, 1000)).await)?;
    expect_list(item, store, &[]).await?;
    item.fails("a read before", store.read(5, 0, 10).await, ErrorKind::Invalid)?;
    drop(writer);
    expect_list(item, store, &[]).await?;
    item.fails("a read of what was dropped", store.read(5, 0, 10).await, ErrorKind::Invalid)?;
    commit(item, store, 5, &[content(5, 10)]).await?;
    let mut writer = item.ok("begin", store.begin(5).await)?;
    item.ok("write", writer.write(content(6, 1000)).await)?;
    drop(writer);
    expect_content(item, store, 5, &content(5, 10)).await
}

/// Item 3: parts become one content, byte for byte.
///
/// # Errors
/// The violation found.
pub async fn committed(store: &dyn CheckpointStore) -> Checked {
    let item = Item("3");
    let parts: Vec<Bytes> = (0..20).zip(0..).map(|(part, len)| content(part, len * 997)).collect();
    commit(item, store, 3, &parts).await?;
    expect_content(item, store, 3, &parts.concat()).await?;
    commit(item, store, 4, &[]).await?;
    expect_content(item, store, 4, &[]).await?;
    expect_content(item, store, 3, &parts.concat()).await
}

/// Item 4: a commit takes the place of what had its number.
///
/// # Errors
/// The violation found.
pub async fn replace(store: &dyn CheckpointStore) -> Checked {
    let item = Item("4");
    commit(item, store, 3, &[content(1, 5000)]).await?;
    let mut writer = item.ok("begin", store.begin(3).await)?;
    item.ok("write", writer.write(content(2, 70)).await)?;
    expect_content(item, store, 3, &content(1, 5000)).await?;
    item.ok("commit", writer.commit().await)?;
    expect_content(item, store, 3, &content(2, 70)).await?;
    expect_list(item, store, &[(3, 70)]).await
}

/// Item 5: a read gives what was asked for and what is there.
///
/// # Errors
/// The violation found.
pub async fn reads(store: &dyn CheckpointStore) -> Checked {
    let item = Item("5");
    let whole = content(8, 10_000);
    commit(item, store, 8, std::slice::from_ref(&whole)).await?;
    let cases = [(0, 1), (0, 10_000), (17, 4096), (9_999, 1), (9_990, 100), (10_000, 5), (0, 0)];
    for (offset, len) in cases {
        let read = item.ok("read", store.read(8, offset, len).await)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let expected = whole.get(start..(start + len).min(whole.len())).unwrap_or_default();
        item.eq("what was read", &read[..], expected)?;
    }
    let all = item.ok("a read of more than there is", store.read(8, 0, usize::MAX).await)?;
    item.eq("its length", all.len(), whole.len())?;
    let beyond = item.ok("a read far beyond", store.read(8, u64::MAX, usize::MAX).await)?;
    item.eq("its length", beyond.len(), 0)?;
    item.fails("a read of another", store.read(7, 0, 1).await, ErrorKind::Invalid)
}

/// Item 6: one is removed, and no other.
///
/// # Errors
/// The violation found.
pub async fn remove(store: &dyn CheckpointStore) -> Checked {
    let item = Item("6");
    for id in [1, 2, 3] {
        commit(item, store, id, &[content(id, 9)]).await?;
    }
    item.ok("remove", store.remove(2).await)?;
    expect_list(item, store, &[(3, 9), (1, 9)]).await?;
    item.fails("a read of what was removed", store.read(2, 0, 1).await, ErrorKind::Invalid)?;
    item.ok("a repeated remove", store.remove(2).await)?;
    item.ok("a remove of what never was", store.remove(77).await)?;
    expect_list(item, store, &[(3, 9), (1, 9)]).await?;
    commit(item, store, 2, &[content(5, 4)]).await?;
    expect_content(item, store, 2, &content(5, 4)).await
}

/// Item 7: writers and readers do not disturb each other.
///
/// # Errors
/// The violation found.
pub async fn side_by_side(store: &dyn CheckpointStore) -> Checked {
    let item = Item("7");
    let mut first = item.ok("begin", store.begin(1).await)?;
    let mut second = item.ok("begin", store.begin(1).await)?;
    let mut other = item.ok("begin", store.begin(2).await)?;
    for part in 0..4 {
        item.ok("write", first.write(content(part, 100)).await)?;
        item.ok("write", second.write(content(part + 10, 100)).await)?;
        item.ok("write", other.write(content(part + 20, 100)).await)?;
    }
    item.ok("commit", second.commit().await)?;
    expect_content(item, store, 1, &contents(10)).await?;
    let (left, right) = tokio::join!(store.read(1, 0, 150), store.read(1, 150, 1000));
    let read = [item.ok("read", left)?, item.ok("read", right)?].concat();
    item.eq("two reads at once", Bytes::from(read), contents(10))?;
    item.ok("commit of the same number", first.commit().await)?;
    expect_content(item, store, 1, &contents(0)).await?;
    item.ok("remove", store.remove(1).await)?;
    item.ok("commit", other.commit().await)?;
    expect_content(item, store, 2, &contents(20)).await?;
    expect_list(item, store, &[(2, 400)]).await
}

/// Item 8: what was refused has changed nothing.
///
/// # Errors
/// The violation found.
pub async fn definite_errors(store: &dyn CheckpointStore) -> Checked {
    let item = Item("8");
    commit(item, store, 5, &[content(5, 50)]).await?;
    for id in [0, 4, 6, u64::MAX] {
        item.eq("a read of none succeeded", store.read(id, 0, 1).await.is_ok(), false)?;
    }
    expect_list(item, store, &[(5, 50)]).await?;
    expect_content(item, store, 5, &content(5, 50)).await
}

/// Bytes that tell whose they are.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are enough to tell")]
fn content(id: u64, len: usize) -> Bytes {
    (0..len).map(|at| (id as u8).wrapping_mul(31) ^ (at % 251) as u8).collect()
}

fn contents(from: u64) -> Bytes {
    (from..from + 4).flat_map(|part| content(part, 100)).collect()
}

async fn commit(item: Item, store: &dyn CheckpointStore, id: u64, parts: &[Bytes]) -> Checked {
    let mut writer = item.ok("begin", store.begin(id).await)?;
    for part in parts {
        item.ok("write", writer.write(part.clone()).await)?;
    }
    item.ok("commit", writer.commit().await)
}

async fn expect_list(item: Item, store: &dyn CheckpointStore, expected: &[(u64, u64)]) -> Checked {
    let listed = item.ok("list", store.list().await)?;
    let expected: Vec<_> =
        expected.iter().map(|(id, bytes)| CheckpointInfo { id: *id, bytes: *bytes }).collect();
    item.eq("the list", listed, expected)
}

async fn expect_content(
    item: Item,
    store: &dyn CheckpointStore,
    id: u64,
    expected: &[u8],
) -> Result<(), Violation> {
    let mut read = Vec::new();
    loop {
        let part = item.ok("read", store.read(id, read.len() as u64, 1024).await)?;
        if part.is_empty() {
            break;
        }
        read.extend_from_slice(&part);
    }
    item.eq("the content is as written", read == expected, true)
}

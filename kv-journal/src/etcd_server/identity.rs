//! The ids by which clients tell clusters and members apart.

use bytes::{Buf, BufMut, Bytes};
use ring::rand::{SecureRandom, SystemRandom};

use super::config::ServerConfig;
use crate::core::PropertyChange;
use crate::error::{Error, ErrorKind, Result};
use crate::kv_store::KvStore;

/// The property that holds them: the cluster's id and the member's, u64 little-endian.
const IDS: &str = "etcd-server/ids";

/// Fills in the ids that the settings leave to the store. The first server of a store draws them.
///
/// # Errors
/// What the store fails with; `Corrupt` if what it holds are no ids.
pub(super) async fn fill_in(store: &dyn KvStore, config: &mut ServerConfig) -> Result<()> {
    if config.cluster_id != 0 && config.member_id != 0 {
        return Ok(());
    }
    let found = store.properties(IDS.as_bytes()).await?;
    let (cluster, member) = if let Some((_, ids)) = found.into_iter().next() {
        read(ids).ok_or_else(unreadable)?
    } else {
        let ids = (draw()?, draw()?);
        store.set_properties(vec![PropertyChange::set(IDS, written(ids))]).await?;
        ids
    };
    let or = |given, kept| if given == 0 { kept } else { given };
    config.cluster_id = or(config.cluster_id, cluster);
    config.member_id = or(config.member_id, member);
    Ok(())
}

fn read(mut ids: Bytes) -> Option<(u64, u64)> {
    Some((ids.try_get_u64_le().ok()?, ids.try_get_u64_le().ok()?))
}

fn written((cluster, member): (u64, u64)) -> Vec<u8> {
    let mut ids = Vec::with_capacity(16);
    ids.put_u64_le(cluster);
    ids.put_u64_le(member);
    ids
}

fn draw() -> Result<u64> {
    let mut id = [0; 8];
    SystemRandom::new().fill(&mut id).map_err(|_| {
        Error::new(ErrorKind::Exhausted, "the system has no randomness: set cluster_id, member_id")
    })?;
    Ok(u64::from_le_bytes(id).max(1))
}

fn unreadable() -> Error {
    let message = format!("the property {IDS} holds no ids: set cluster_id and member_id");
    Error::new(ErrorKind::Corrupt, message)
}

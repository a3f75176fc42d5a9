//! Whoever asks, and what they may ask.

use std::sync::Arc;

use super::Auth;
use super::realm::{Access, Account, Realm};
use crate::core::{DeleteRequest, KeyRange, Op, PutRequest, Txn};
use crate::etcd_server::status::{
    AUTH_OLD_REVISION, Known, PERMISSION_DENIED, USER_EMPTY, USER_NOT_FOUND,
};

/// The common name of the certificate that a connection's client has shown.
#[derive(Debug, Clone)]
pub(crate) struct ClientName(Arc<str>);

impl ClientName {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self(name)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

/// A user, known by a token or a certificate, or nobody.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<User>);

#[derive(Debug, Clone)]
struct User {
    name: String,
    /// Of the users and roles by which the user was known.
    revision: u64,
}

type Checked = Result<(), Known>;

impl Caller {
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn new(name: String, revision: u64) -> Self {
        Self(Some(User { name, revision }))
    }

    /// Whether this is the user of that name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|user| user.name == name)
    }

    /// Whether the user has that role.
    pub(super) fn has_role(&self, realm: &Realm, role: &str) -> bool {
        let account = self.0.as_ref().and_then(|user| realm.account(&user.name));
        account.is_some_and(|account| account.has_role(role))
    }

    pub(super) fn check_admin(&self, realm: &Realm) -> Checked {
        if !realm.enabled {
            return Ok(());
        }
        let user = self.0.as_ref().filter(|user| !user.name.is_empty()).ok_or(USER_EMPTY)?;
        let account = realm.account(&user.name).ok_or(USER_NOT_FOUND)?;
        if account.is_root() { Ok(()) } else { Err(PERMISSION_DENIED) }
    }

    /// The account that decides; `None` where nothing is enforced.
    fn account<'a>(&self, realm: &'a Realm) -> Result<Option<&'a Arc<Account>>, Known> {
        if !realm.enabled {
            return Ok(None);
        }
        let user = self.0.as_ref().ok_or(USER_EMPTY)?;
        if user.revision < realm.revision {
            return Err(AUTH_OLD_REVISION);
        }
        realm.account(&user.name).ok_or(PERMISSION_DENIED).map(Some)
    }
}

/// What is asked of the rules. While anything is enforced each answer is by the newest of them.
impl Auth {
    /// Whether it is anybody at all.
    pub(crate) fn check_known(&self, caller: &Caller) -> Checked {
        if self.is_enabled() && caller.0.is_none() { Err(USER_EMPTY) } else { Ok(()) }
    }

    pub(crate) fn check_admin(&self, caller: &Caller) -> Checked {
        caller.check_admin(&self.realm.load())
    }

    pub(crate) fn check_read(&self, caller: &Caller, range: &KeyRange) -> Checked {
        Check::new(&self.realm.load(), caller).read(range)
    }

    /// Returns the lease whose keys have to be checked, too.
    pub(crate) fn check_put(&self, caller: &Caller, put: &PutRequest) -> Result<Leases, Known> {
        let realm = self.realm.load();
        let mut check = Check::new(&realm, caller);
        check.put(put)?;
        Ok(check.leases)
    }

    pub(crate) fn check_delete(&self, caller: &Caller, delete: &DeleteRequest) -> Checked {
        Check::new(&self.realm.load(), caller).delete(delete)
    }

    /// Returns the leases whose keys have to be checked, too.
    pub(crate) fn check_txn(&self, caller: &Caller, txn: &Txn) -> Result<Leases, Known> {
        let realm = self.realm.load();
        let mut check = Check::new(&realm, caller);
        check.txn(txn)?;
        Ok(check.leases)
    }

    /// Whether a lease concerns nobody but those who may do everything.
    pub(crate) fn is_restricted(&self, caller: &Caller) -> Result<bool, Known> {
        let realm = self.realm.load();
        Ok(caller.account(&realm)?.is_some_and(|account| !account.is_root()))
    }

    pub(crate) fn check_keys<K: AsRef<[u8]>>(
        &self,
        caller: &Caller,
        keys: &[K],
        access: Access,
    ) -> Checked {
        let realm = self.realm.load();
        let check = Check::new(&realm, caller);
        keys.iter().try_for_each(|key| check.access(&KeyRange::key(key.as_ref().to_vec()), access))
    }

    /// Refuses what was read if the rules have changed meanwhile.
    pub(crate) fn check_still(&self, caller: &Caller) -> Checked {
        caller.account(&self.realm.load()).map(drop)
    }
}

/// Leases to which a request attaches keys: whoever cannot write all their keys may not.
pub(crate) type Leases = Vec<i64>;

/// One request on its way through the rules.
struct Check<'a> {
    realm: &'a Realm,
    /// `None` if everything is permitted. Who is nobody may do nothing to any key; a transaction
    /// without any is no harm.
    account: Result<Option<&'a Account>, Known>,
    leases: Leases,
}

impl<'a> Check<'a> {
    fn new(realm: &'a Realm, caller: &Caller) -> Self {
        let account = caller.account(realm);
        let account = account.map(|it| it.map(Arc::as_ref).filter(|account| !account.is_root()));
        Self { realm, account, leases: Vec::new() }
    }

    fn access(&self, range: &KeyRange, access: Access) -> Checked {
        match self.account? {
            Some(account) if !self.realm.permits(account, range, access) => Err(PERMISSION_DENIED),
            _ => Ok(()),
        }
    }

    fn read(&self, range: &KeyRange) -> Checked {
        self.access(range, Access::Read)
    }

    fn put(&mut self, put: &PutRequest) -> Checked {
        let key = KeyRange::key(put.key.clone());
        self.access(&key, Access::Write)?;
        if put.lease != 0 {
            self.leases.push(put.lease);
        }
        if put.prev_kv { self.read(&key) } else { Ok(()) }
    }

    fn delete(&self, delete: &DeleteRequest) -> Checked {
        self.access(&delete.range, Access::Write)?;
        if delete.prev_kv { self.read(&delete.range) } else { Ok(()) }
    }

    /// Everything that it might do, in whichever branch and however deep.
    fn txn(&mut self, txn: &Txn) -> Checked {
        for compare in &txn.compares {
            self.read(&compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(range) => self.read(&range.range)?,
                Op::Put(put) => self.put(put)?,
                Op::Delete(delete) => self.delete(delete)?,
                Op::Txn(nested) => self.txn(nested)?,
            }
        }
        Ok(())
    }
}

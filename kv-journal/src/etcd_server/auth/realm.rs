//! Users, roles and what they may do: etcd's rules, free of IO (server/auth/store.go).

use std::sync::{Arc, OnceLock};

use bytes::{Buf, BufMut, Bytes};
use cow_tree::Tree;
use prost::Message;

use super::key_set::KeySet;
use crate::core::{KeyRange, PropertyChange};
use crate::error::{Error, ErrorKind, Result};
use crate::etcd_api::authpb::permission::Type;
use crate::etcd_api::authpb::{Permission, Role, User, UserAddOptions};
use crate::etcd_api::key_range;
use crate::etcd_server::status::{
    INVALID_AUTH_MGMT, Known, PERMISSION_NOT_GIVEN, PERMISSION_NOT_GRANTED, ROLE_ALREADY_EXIST,
    ROLE_EMPTY, ROLE_NOT_FOUND, ROLE_NOT_GRANTED, ROOT_ROLE_NOT_EXIST, ROOT_USER_NOT_EXIST,
    USER_ALREADY_EXIST, USER_EMPTY, USER_NOT_FOUND,
};

/// The user who must exist before anything is enforced, and the role that may do everything.
pub(super) const ROOT: &str = "root";

/// The names of the properties that hold it all.
pub(super) const PREFIX: &str = "etcd-server/auth/";
const STATE: &str = "etcd-server/auth/state";
const USERS: &str = "etcd-server/auth/users/";
const ROLES: &str = "etcd-server/auth/roles/";

/// What to do with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Users and roles as of one moment. A copy costs nothing.
#[derive(Debug, Clone)]
pub(super) struct Realm {
    pub(super) enabled: bool,
    /// Grows with every change, so that what was decided by an older one can be told.
    pub(super) revision: u64,
    users: Tree<String, Arc<Account>>,
    roles: Tree<String, Arc<Role>>,
}

/// A user, and what that user may do once that was asked.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: User,
    allowed: OnceLock<Allowed>,
}

#[derive(Debug)]
struct Allowed {
    read: KeySet,
    write: KeySet,
}

impl Account {
    fn new(user: User) -> Arc<Self> {
        Arc::new(Self { user, allowed: OnceLock::new() })
    }

    /// Whether the user may do everything.
    pub(super) fn is_root(&self) -> bool {
        self.has_role(ROOT)
    }

    pub(super) fn has_role(&self, role: &str) -> bool {
        self.user.roles.iter().any(|name| name == role)
    }

    pub(super) fn has_password(&self) -> bool {
        !self.user.options.is_some_and(|options| options.no_password)
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self { enabled: false, revision: 1, users: Tree::new(), roles: Tree::new() }
    }
}

impl Realm {
    /// What the properties with [`PREFIX`] say.
    ///
    /// # Errors
    /// `Corrupt` if they cannot be read: nobody is let in by mistake.
    pub(super) fn load(properties: Vec<(Bytes, Bytes)>) -> Result<Self> {
        let mut realm = Self::default();
        for (name, value) in properties {
            realm.take(&name, value).ok_or_else(|| unreadable(&name))?;
        }
        Ok(realm)
    }

    fn take(&mut self, name: &[u8], mut value: Bytes) -> Option<()> {
        let name = std::str::from_utf8(name).ok()?;
        if name == STATE {
            self.enabled = value.try_get_u8().ok()? != 0;
            self.revision = value.try_get_u64_le().ok()?;
        } else if let Some(user) = name.strip_prefix(USERS) {
            let account = Account::new(User::decode(value).ok()?);
            self.users.insert(user.to_owned(), account);
        } else if let Some(role) = name.strip_prefix(ROLES) {
            self.roles.insert(role.to_owned(), Arc::new(Role::decode(value).ok()?));
        }
        Some(())
    }

    pub(super) fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.users.get(name)
    }

    pub(super) fn user_names(&self) -> Vec<String> {
        self.users.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn role_names(&self) -> Vec<String> {
        self.roles.iter().map(|(name, _)| name.clone()).collect()
    }

    /// What a role permits.
    pub(super) fn permissions(&self, role: &str) -> std::result::Result<Vec<Permission>, Known> {
        let found = self.roles.get(role).ok_or(ROLE_NOT_FOUND)?;
        if role != ROOT {
            return Ok(found.key_permission.clone());
        }
        let everything = Bytes::from_static(b"\0");
        Ok(vec![Permission {
            perm_type: Type::Readwrite.into(),
            key: Bytes::new(),
            range_end: everything,
        }])
    }

    /// Whether the user may do that with every key of `range`.
    pub(super) fn permits(&self, account: &Account, range: &KeyRange, access: Access) -> bool {
        let allowed = account.allowed.get_or_init(|| self.allowed(&account.user));
        match access {
            Access::Read => allowed.read.covers(range),
            Access::Write => allowed.write.covers(range),
        }
    }

    fn allowed(&self, user: &User) -> Allowed {
        let of = |wanted: Type| -> KeySet {
            let roles = user.roles.iter().filter_map(|role| self.roles.get(role.as_str()));
            let permissions = roles.flat_map(|role| &role.key_permission);
            let fitting = permissions.filter(|permission| {
                [wanted, Type::Readwrite].iter().any(|fits| permission.perm_type == *fits as i32)
            });
            fitting.map(range_of).collect()
        };
        Allowed { read: of(Type::Read), write: of(Type::Write) }
    }
}

fn range_of(permission: &Permission) -> KeyRange {
    key_range(permission.key.clone(), permission.range_end.clone())
}

fn unreadable(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::new(
        ErrorKind::Corrupt,
        format!("the property {name} cannot be read: restore a backup or remove it"),
    )
}

/// A change of a realm, and of the properties that hold it.
pub(super) struct Edit {
    pub(super) realm: Realm,
    pub(super) changes: Vec<PropertyChange>,
}

type Edited = std::result::Result<Edit, Known>;

/// The changes. Each gives `None` in the place of what would change nothing.
impl Realm {
    fn edit(&self) -> Edit {
        Edit { realm: self.clone(), changes: Vec::new() }
    }

    pub(super) fn enable(&self) -> Edited {
        let root = self.account(ROOT).ok_or(ROOT_USER_NOT_EXIST)?;
        if !root.is_root() {
            return Err(ROOT_ROLE_NOT_EXIST);
        }
        let mut edit = self.edit();
        edit.realm.enabled = true;
        edit.save_state();
        Ok(edit)
    }

    pub(super) fn disable(&self) -> Edit {
        let mut edit = self.edit();
        edit.realm.enabled = false;
        edit.committed()
    }

    /// Without a hash the user has no password, and is known by a certificate alone.
    pub(super) fn add_user(&self, name: &str, hash: Option<String>) -> Edited {
        if self.account(name).is_some() {
            return Err(USER_ALREADY_EXIST);
        }
        let options = UserAddOptions { no_password: hash.is_none() };
        let user = User {
            name: name.to_owned().into(),
            password: hash.unwrap_or_default().into(),
            roles: Vec::new(),
            options: Some(options),
        };
        let mut edit = self.edit();
        edit.put_user(user);
        Ok(edit.committed())
    }

    pub(super) fn delete_user(&self, name: &str) -> Edited {
        if self.enabled && name == ROOT {
            return Err(INVALID_AUTH_MGMT);
        }
        let mut edit = self.edit();
        edit.realm.users.remove(name).ok_or(USER_NOT_FOUND)?;
        edit.changes.push(PropertyChange::remove([USERS, name].concat()));
        Ok(edit.committed())
    }

    /// Without a hash nobody can authenticate as the user until there is one again.
    pub(super) fn change_password(&self, name: &str, hash: Option<String>) -> Edited {
        let mut user = self.user(name)?;
        let has_password = self.account(name).is_some_and(|account| account.has_password());
        user.password = if has_password { hash.unwrap_or_default().into() } else { Bytes::new() };
        let mut edit = self.edit();
        edit.put_user(user);
        Ok(edit.committed())
    }

    /// `None` if the user has it already.
    pub(super) fn grant_role(
        &self,
        name: &str,
        role: &str,
    ) -> std::result::Result<Option<Edit>, Known> {
        let mut user = self.user(name)?;
        if role != ROOT && self.roles.get(role).is_none() {
            return Err(ROLE_NOT_FOUND);
        }
        let Err(place) = user.roles.binary_search_by(|other| other.as_str().cmp(role)) else {
            return Ok(None);
        };
        user.roles.insert(place, role.to_owned());
        let mut edit = self.edit();
        edit.put_user(user);
        Ok(Some(edit.committed()))
    }

    pub(super) fn revoke_role(&self, name: &str, role: &str) -> Edited {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(INVALID_AUTH_MGMT);
        }
        let mut user = self.user(name)?;
        let before = user.roles.len();
        user.roles.retain(|other| other != role);
        if user.roles.len() == before {
            return Err(ROLE_NOT_GRANTED);
        }
        let mut edit = self.edit();
        edit.put_user(user);
        Ok(edit.committed())
    }

    pub(super) fn add_role(&self, name: &str) -> Edited {
        if name.is_empty() {
            return Err(ROLE_EMPTY);
        }
        if self.roles.get(name).is_some() {
            return Err(ROLE_ALREADY_EXIST);
        }
        let mut edit = self.edit();
        edit.put_role(Role { name: name.to_owned().into(), key_permission: Vec::new() });
        Ok(edit.committed())
    }

    pub(super) fn delete_role(&self, name: &str) -> Edited {
        if self.enabled && name == ROOT {
            return Err(INVALID_AUTH_MGMT);
        }
        let mut edit = self.edit();
        edit.realm.roles.remove(name).ok_or(ROLE_NOT_FOUND)?;
        edit.changes.push(PropertyChange::remove([ROLES, name].concat()));
        for account in self.having(name) {
            let mut user = account.user.clone();
            user.roles.retain(|role| role != name);
            edit.put_user(user);
        }
        Ok(edit.committed())
    }

    pub(super) fn grant_permission(&self, name: &str, permission: Option<Permission>) -> Edited {
        let permission = permission.ok_or(PERMISSION_NOT_GIVEN)?;
        if !is_valid(&permission) {
            return Err(INVALID_AUTH_MGMT);
        }
        let mut role = self.role(name)?;
        let same = |other: &Permission| {
            (&other.key, &other.range_end) == (&permission.key, &permission.range_end)
        };
        if let Some(there) = role.key_permission.iter_mut().find(|other| same(other)) {
            there.perm_type = permission.perm_type;
        } else {
            role.key_permission.push(permission);
            role.key_permission.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(self.with_role(role))
    }

    pub(super) fn revoke_permission(&self, name: &str, key: &[u8], range_end: &[u8]) -> Edited {
        let mut role = self.role(name)?;
        let before = role.key_permission.len();
        role.key_permission
            .retain(|other| (&other.key[..], &other.range_end[..]) != (key, range_end));
        if role.key_permission.len() == before {
            return Err(PERMISSION_NOT_GRANTED);
        }
        Ok(self.with_role(role))
    }

    /// What was found out of those who have the role holds no more.
    fn with_role(&self, role: Role) -> Edit {
        let mut edit = self.edit();
        let name = String::from_utf8_lossy(&role.name).into_owned();
        for account in self.having(&name) {
            let forgetful = Account::new(account.user.clone());
            edit.realm.users.insert(name_of(&account.user), forgetful);
        }
        edit.put_role(role);
        edit.committed()
    }

    fn having<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Arc<Account>> {
        self.users.iter().map(|(_, account)| account).filter(move |it| it.has_role(role))
    }

    fn user(&self, name: &str) -> std::result::Result<User, Known> {
        self.account(name).map(|account| account.user.clone()).ok_or(USER_NOT_FOUND)
    }

    fn role(&self, name: &str) -> std::result::Result<Role, Known> {
        self.roles.get(name).map(|role| Role::clone(role)).ok_or(ROLE_NOT_FOUND)
    }
}

/// Refuses what no user can be called.
pub(super) fn check_user_name(name: &str) -> std::result::Result<(), Known> {
    if name.is_empty() { Err(USER_EMPTY) } else { Ok(()) }
}

fn name_of(user: &User) -> String {
    String::from_utf8_lossy(&user.name).into_owned()
}

/// A permission is for a key, for the keys before a later one, or for all from one on.
fn is_valid(permission: &Permission) -> bool {
    let (key, end) = (&permission.key, &permission.range_end);
    !key.is_empty() && (end.is_empty() || key < end || end[..] == *b"\0")
}

impl Edit {
    fn put_user(&mut self, user: User) {
        let name = name_of(&user);
        let property = PropertyChange::set([USERS, &name].concat(), user.encode_to_vec());
        self.changes.push(property);
        self.realm.users.insert(name, Account::new(user));
    }

    fn put_role(&mut self, role: Role) {
        let name = String::from_utf8_lossy(&role.name).into_owned();
        let property = PropertyChange::set([ROLES, &name].concat(), role.encode_to_vec());
        self.changes.push(property);
        self.realm.roles.insert(name, Arc::new(role));
    }

    fn committed(mut self) -> Self {
        self.realm.revision += 1;
        self.save_state();
        self
    }

    fn save_state(&mut self) {
        let mut state = Vec::with_capacity(9);
        state.put_u8(self.realm.enabled.into());
        state.put_u64_le(self.realm.revision);
        self.changes.push(PropertyChange::set(STATE, state));
    }
}

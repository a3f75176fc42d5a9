//! Who may do what: users, roles, tokens, and every request checked by them.
//!
//! Users and roles are properties of the store, so they are journaled with the keys and are in every
//! checkpoint and snapshot.

mod caller;
mod jwt;
mod key_set;
mod passwords;
mod realm;
mod service;
mod simple;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{RwLock, RwLockReadGuard};
use tonic::Status;
use tonic::metadata::MetadataMap;

pub(super) use caller::{Caller, ClientName};
pub use jwt::JwtConfig;
pub(super) use service::AuthService;

use super::config::ServerConfig;
use super::status::{AUTH_FAILED, AUTH_NOT_ENABLED, INVALID_AUTH_TOKEN, Known, of_store};
use crate::error::{Error, ErrorKind, Result};
use crate::kv_store::KvStore;
use jwt::JwtTokens;
use passwords::Passwords;
pub(super) use realm::Access;
use realm::{Edit, Realm};
use simple::SimpleTokens;

/// What a client shows after it has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthToken {
    /// Tokens that the server remembers until they were not used for so long.
    Simple {
        /// How long: etcd's `--auth-token-ttl`.
        ttl: Duration,
    },
    /// Tokens that are signed, and that any server with the key knows.
    Jwt(JwtConfig),
}

impl Default for AuthToken {
    fn default() -> Self {
        Self::Simple { ttl: Duration::from_secs(300) }
    }
}

enum Tokens {
    Simple(SimpleTokens),
    Jwt(Box<JwtTokens>),
}

/// Users, roles and tokens of one server.
pub(super) struct Auth {
    realm: ArcSwap<Realm>,
    /// Held for reading by writes between their check and their answer: once a change of users or
    /// roles is answered, nothing happens that was permitted before it.
    gate: RwLock<()>,
    tokens: Tokens,
    passwords: Passwords,
}

impl Auth {
    /// What the store's properties say.
    ///
    /// # Errors
    /// `Invalid` if the keys of tokens cannot be used; `Corrupt` if the properties cannot be read.
    pub(super) async fn open(store: &dyn KvStore, config: &ServerConfig) -> Result<Self> {
        let tokens = match &config.auth_token {
            AuthToken::Simple { ttl } => Tokens::Simple(SimpleTokens::new(*ttl)),
            AuthToken::Jwt(config) => Tokens::Jwt(Box::new(JwtTokens::new(config)?)),
        };
        let passwords = Passwords::new(config.password_threads, config.bcrypt_cost);
        let passwords = passwords.map_err(|error| {
            Error::new(ErrorKind::Exhausted, "the system has no thread for passwords")
                .with_source(error)
        })?;
        let realm = Realm::load(store.properties(realm::PREFIX.as_bytes()).await?)?;
        Ok(Self { realm: ArcSwap::from_pointee(realm), gate: RwLock::new(()), tokens, passwords })
    }

    /// Who asks, by the token or else by the certificate; nobody while nothing is enforced.
    pub(super) fn caller(
        &self,
        metadata: &MetadataMap,
        client: Option<&ClientName>,
    ) -> std::result::Result<Caller, Known> {
        let realm = self.realm.load_full();
        if !realm.enabled {
            return Ok(Caller::nobody());
        }
        if let Some(token) = token_of(metadata) {
            let known = match &self.tokens {
                Tokens::Simple(tokens) => tokens.owner(token).map(|name| (name, realm.revision)),
                Tokens::Jwt(tokens) => tokens.owner(token),
            };
            let (name, revision) = known.ok_or(INVALID_AUTH_TOKEN)?;
            return Ok(Caller::new(name, revision));
        }
        Ok(client.map_or_else(Caller::nobody, |client| {
            Caller::new(client.name().to_owned(), realm.revision)
        }))
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.realm.load().enabled
    }

    /// Keeps users and roles as they are until it is dropped.
    pub(super) async fn steady(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().await
    }

    /// A token for whoever knows the password.
    async fn authenticate(
        &self,
        name: String,
        password: String,
    ) -> std::result::Result<String, Status> {
        let before = self.realm.load_full();
        if !before.enabled {
            return Err(AUTH_NOT_ENABLED.into());
        }
        let account = before.account(&name).filter(|account| account.has_password());
        let hash =
            account.map(|account| String::from_utf8_lossy(&account.user.password).into_owned());
        // A name that nobody has takes as long as a wrong password: whose names there are is not told.
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODYS_HASH.to_owned());
        if !self.passwords.verify(password, hash).await? || !known {
            return Err(AUTH_FAILED.into());
        }
        let _steady = self.steady().await;
        if self.realm.load().revision != before.revision {
            // The password may be another one by now.
            return Err(super::status::AUTH_OLD_REVISION.into());
        }
        match &self.tokens {
            Tokens::Simple(tokens) => tokens.assign(&name),
            Tokens::Jwt(tokens) => tokens.assign(&name, before.revision),
        }
    }

    /// Changes users and roles, durably, once no write is under way that was checked before.
    async fn change(
        &self,
        store: &dyn KvStore,
        by: &Caller,
        edit: impl FnOnce(&Realm) -> std::result::Result<Option<Edit>, Known>,
    ) -> std::result::Result<(), Status> {
        let _alone = self.gate.write().await;
        let realm = self.realm.load_full();
        by.check_admin(&realm)?;
        let Some(Edit { realm, changes }) = edit(&realm)? else { return Ok(()) };
        let saved = store.set_properties(changes).await;
        if let Err(error) = saved {
            self.reload(store).await;
            return Err(of_store(&error));
        }
        self.realm.store(Arc::new(realm));
        Ok(())
    }

    /// After a change that may or may not have happened. A store that cannot tell is of no use to
    /// anybody else, either.
    async fn reload(&self, store: &dyn KvStore) {
        let properties = store.properties(realm::PREFIX.as_bytes()).await;
        if let Ok(realm) = properties.and_then(Realm::load) {
            self.realm.store(Arc::new(realm));
        }
    }

    /// Ends what tokens say of a user.
    fn forget(&self, name: &str) {
        if let Tokens::Simple(tokens) = &self.tokens {
            tokens.forget(name);
        }
    }

    fn forget_all(&self) {
        if let Tokens::Simple(tokens) = &self.tokens {
            tokens.forget_all();
        }
    }
}

/// A hash of cost 10 that no password is known to have.
const NOBODYS_HASH: &str = "$2a$10$aaaaaaaaaaaaaaaaaaaaaOaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// etcd's clients send it under the first name, its gateway under the second.
fn token_of(metadata: &MetadataMap) -> Option<&str> {
    let token = metadata.get("token").or_else(|| metadata.get("authorization"))?;
    // What is not text is nobody's token.
    let token = token.to_str().unwrap_or_default();
    Some(token.strip_prefix("Bearer ").unwrap_or(token))
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("enabled", &self.is_enabled()).finish_non_exhaustive()
    }
}

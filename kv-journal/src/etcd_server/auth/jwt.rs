//! Tokens that say whose they are, signed: JSON Web Tokens (RFC 7519) with etcd's claims.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind as JwtError;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp,
};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::error::{Error, ErrorKind, Result};

/// How JSON Web Tokens are signed and verified.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JwtConfig {
    /// `HS256` to `HS512`, `RS256` to `RS512`, `PS256` to `PS512`, `ES256`, `ES384` or `EdDSA`
    /// (RFC 7518, section 3.1; RFC 8037).
    pub sign_method: String,
    /// The public key in PEM, with which tokens are verified. `HS…` has none.
    pub public_key: Vec<u8>,
    /// The private key in PEM, or the secret of `HS…`, with which tokens are signed. Without it
    /// tokens come from elsewhere and are only verified.
    pub private_key: Vec<u8>,
    /// How long a token that the server gives lives.
    pub ttl: Duration,
}

impl JwtConfig {
    /// Tokens signed by `sign_method`, which live for etcd's five minutes.
    #[must_use]
    pub fn new(sign_method: impl Into<String>, public_key: Vec<u8>, private_key: Vec<u8>) -> Self {
        let ttl = Duration::from_secs(300);
        Self { sign_method: sign_method.into(), public_key, private_key, ttl }
    }
}

/// Keys are nobody's to see.
impl fmt::Debug for JwtConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtConfig")
            .field("sign_method", &self.sign_method)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    /// Of the users and roles when it was given.
    revision: u64,
    exp: u64,
}

pub(super) struct JwtTokens {
    header: Header,
    validation: Validation,
    verify: DecodingKey,
    sign: Option<EncodingKey>,
    ttl: Duration,
}

impl JwtTokens {
    /// # Errors
    /// `Invalid` if the method is unknown, a key is missing or is not one of the method's.
    pub(super) fn new(config: &JwtConfig) -> Result<Self> {
        let algorithm = Algorithm::from_str(&config.sign_method).map_err(|_| {
            invalid(&format!("the sign method {:?} is unknown: take RS256", config.sign_method))
        })?;
        let (verify, sign) = keys(algorithm, config).map_err(|error| {
            let message = format!("the key of {:?} cannot be used", config.sign_method);
            invalid(&message).with_source(error)
        })?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        let tokens =
            Self { header: Header::new(algorithm), validation, verify, sign, ttl: config.ttl };
        tokens.check_pair()?;
        Ok(tokens)
    }

    /// Two keys that do not belong together would give tokens that nobody accepts.
    fn check_pair(&self) -> Result<()> {
        if self.sign.is_none() {
            return Ok(());
        }
        let token = self.assign("", 0).map_err(|status| invalid(status.message()))?;
        match self.owner(&token) {
            Some(_) => Ok(()),
            None => Err(invalid("the public key is not that of the private key: give its own")),
        }
    }

    /// A token of the user.
    pub(super) fn assign(&self, name: &str, revision: u64) -> std::result::Result<String, Status> {
        let Some(sign) = &self.sign else {
            return Err(Status::unknown("auth: token signing attempted with verify-only key"));
        };
        let exp = get_current_timestamp() + self.ttl.as_secs();
        let claims = Claims { username: name.to_owned(), revision, exp };
        encode(&self.header, &claims, sign)
            .map_err(|error| Status::internal(format!("a token cannot be signed: {error}")))
    }

    /// Whose it is, and the revision of the users and roles when it was given.
    pub(super) fn owner(&self, token: &str) -> Option<(String, u64)> {
        let claims = decode::<Claims>(token, &self.verify, &self.validation).ok()?.claims;
        Some((claims.username, claims.revision))
    }
}

type Keys = (DecodingKey, Option<EncodingKey>);

fn keys(
    algorithm: Algorithm,
    config: &JwtConfig,
) -> std::result::Result<Keys, jsonwebtoken::errors::Error> {
    let (public, private) = (&config.public_key[..], &config.private_key[..]);
    let has_private = !private.is_empty();
    let signed_by = |key: fn(&[u8]) -> _| has_private.then(|| key(private)).transpose();
    Ok(match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            if !has_private {
                return Err(JwtError::InvalidKeyFormat.into());
            }
            (DecodingKey::from_secret(private), Some(EncodingKey::from_secret(private)))
        }
        Algorithm::ES256 | Algorithm::ES384 => {
            (DecodingKey::from_ec_pem(public)?, signed_by(EncodingKey::from_ec_pem)?)
        }
        Algorithm::EdDSA => {
            (DecodingKey::from_ed_pem(public)?, signed_by(EncodingKey::from_ed_pem)?)
        }
        _ => (DecodingKey::from_rsa_pem(public)?, signed_by(EncodingKey::from_rsa_pem)?),
    })
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("tokens: {message}"))
}

//! TLS of the listeners: what the server shows and what it asks of its clients.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};

use crate::error::{Error, ErrorKind, Result};

/// `id-at-commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a listener needs for TLS. Clones share it, so that [`replace`](Self::replace) reaches the
/// listeners that use it.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// TLS 1.2 and 1.3 with this chain of certificates and its key, in PEM. With `client_ca`, every
    /// client must show a certificate that one of those authorities has signed.
    ///
    /// # Errors
    /// `Invalid`, with what is wrong about it, if something is not PEM, is empty, or the key is not
    /// the certificate's.
    pub fn new(chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self> {
        let config = Arc::new(server_config(chain, key, client_ca)?);
        Ok(Self { config: Arc::new(ArcSwap::new(config)) })
    }

    /// The same for every connection from now on: certificates run out while a server runs.
    ///
    /// # Errors
    /// As [`new`](Self::new); the old ones stay then.
    pub fn replace(&self, chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<()> {
        self.config.store(Arc::new(server_config(chain, key, client_ca)?));
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn server_config(chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<ServerConfig> {
    let chain = certificates("the server's certificate", chain)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| invalid(format!("the server's key is not in PEM: {error}")))?;
    // The process may have several providers, and then no default.
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(format!("TLS: {error}")))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("the clients' authority", authorities)? {
                let added = roots.add(root);
                added.map_err(|error| invalid(format!("the clients' authority: {error}")))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let verifier =
                verifier.map_err(|error| invalid(format!("the clients' authority: {error}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| invalid(format!("the server's certificate and key: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates =
        certificates.map_err(|error| invalid(format!("{what} is not in PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(invalid(format!("{what}: there is no certificate in it")));
    }
    Ok(certificates)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// The first common name of a certificate's subject, if it has one that is text.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let mut attributes =
        certificate.tbs_certificate.subject.0.iter().flat_map(|name| name.0.iter());
    let name = attributes.find(|attribute| attribute.oid == COMMON_NAME)?;
    match name.value.tag() {
        Tag::Utf8String => name.value.decode_as::<Utf8StringRef<'_>>().ok().map(|s| s.to_string()),
        Tag::PrintableString => {
            name.value.decode_as::<PrintableStringRef<'_>>().ok().map(|s| s.to_string())
        }
        _ => None,
    }
}

//! TLS to etcd, with an explicit provider: a process may have several, and then no default.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio_rustls::TlsConnector;

use super::config::EtcdConfig;
use crate::error::{Error, ErrorKind, Result};

pub(super) fn connector(config: &EtcdConfig) -> Result<TlsConnector> {
    let Some(pem) = &config.ca_pem else {
        return Err(invalid("config: an https endpoint needs a CA's certificate: give ca_pem"));
    };
    let mut roots = RootCertStore::empty();
    for root in certificates("ca_pem", pem)? {
        roots.add(root).map_err(|error| {
            invalid("config: ca_pem has no CA's certificate: give another").with_source(error)
        })?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS has no version to speak").with_source(error))?
        .with_root_certificates(roots);
    let mut tls = match &config.identity_pem {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
                invalid("config: identity_pem has no key in PEM: give one").with_source(error)
            })?;
            let chain = certificates("identity_pem", chain)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                invalid("config: identity_pem's key is not its certificate's: give a pair")
                    .with_source(error)
            })?
        }
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// The name that a server's certificate must have.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>> {
    let name = name.trim_matches(['[', ']']).to_owned();
    ServerName::try_from(name).map_err(|error| {
        invalid("config: an https endpoint is no name for TLS: give server_name").with_source(error)
    })
}

fn certificates(field: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let none = || invalid(format!("config: {field} has no certificate in PEM: give one"));
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| none().with_source(error))?;
    if all.is_empty() { Err(none()) } else { Ok(all) }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

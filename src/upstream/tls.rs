//! TLS towards DoH backends: whom to trust, and what a refusal means in words.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::failure::{Fault, TlsFault};
use super::settings::SetupError;

/// The certificates that are trusted, and the client configuration made of them.
///
/// Session tickets belong to one configuration. Unchanged certificates keep it over a reload,
/// and changed ones get a new one: no old ticket can lead past a changed CA.
pub(super) struct Trust {
    certificates: Vec<CertificateDer<'static>>,
    /// What connections are opened with.
    pub(super) config: Arc<ClientConfig>,
}

impl Trust {
    /// Reads the certificates of `ca`, or the system's. What is the same as `previous` is
    /// `previous`.
    pub(super) fn load(
        ca: Option<&Path>,
        previous: Option<&Arc<Trust>>,
    ) -> Result<Arc<Trust>, SetupError> {
        let (certificates, place) = match ca {
            Some(path) => (from_file(path)?, path.display().to_string()),
            None => (from_system(), system_place()),
        };
        if let Some(previous) = previous.filter(|p| p.certificates == certificates) {
            return Ok(previous.clone());
        }
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(certificates.iter().cloned());
        if ignored > 0 {
            tracing::warn!(
                target: "culvert::upstream",
                "{ignored} CA certificates in {place} cannot be used and are left out"
            );
        }
        if roots.is_empty() {
            return Err(SetupError::NoRoots { place });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(Trust { certificates, config: Arc::new(config) }))
    }
}

/// A client configuration for another protocol over TLS: the certificates of `ca`, or the
/// system's, and this protocol name (ALPN, RFC 7301).
pub fn client_config(ca: Option<&Path>, alpn: &[u8]) -> Result<Arc<ClientConfig>, SetupError> {
    let mut config = (*Trust::load(ca, None)?.config).clone();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

/// The name that a server's certificate must be for: a DNS name or an IP address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, SetupError> {
    ServerName::try_from(host.to_owned()).map_err(|_| SetupError::Host(host.to_owned()))
}

/// The fault for an error of the TLS handshake. The library wraps its errors in `io::Error`.
pub fn handshake_fault(error: &std::io::Error) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Fault::Tls(in_words(error)),
        None => Fault::Connect(error.kind()),
    }
}

fn in_words(error: &rustls::Error) -> TlsFault {
    use rustls::Error::{AlertReceived, InvalidCertificate, PeerIncompatible};
    match error {
        InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFault::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFault::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFault::WrongName
            }
            // also what is self-signed, and what a CA of the same name but another key signed
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::UnknownCa,
            other => TlsFault::Other(format!("certificate refused: {other}")),
        },
        AlertReceived(AlertDescription::NoApplicationProtocol) => TlsFault::NoHttp2,
        AlertReceived(AlertDescription::ProtocolVersion) => TlsFault::Version,
        PeerIncompatible(
            rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13
            | rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => TlsFault::Version,
        other => TlsFault::Other(other.to_string()),
    }
}

fn from_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let unreadable = |error: String| SetupError::CaUnreadable { path: path.to_owned(), error };
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(error.to_string()))
}

fn from_system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(target: "culvert::upstream", "system trust store: {error}");
    }
    found.certs
}

/// Where the system's certificates are looked for, for the error that finds none.
fn system_place() -> String {
    std::env::var("SSL_CERT_FILE")
        .unwrap_or_else(|_| "the system's trust store (/etc/ssl/certs)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_certificates_keep_their_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let make = || rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
        std::fs::write(&path, make().cert.pem()).unwrap();
        let first = Trust::load(Some(&path), None).unwrap();
        let again = Trust::load(Some(&path), Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        std::fs::write(&path, make().cert.pem()).unwrap();
        let changed = Trust::load(Some(&path), Some(&first)).unwrap();
        assert!(!Arc::ptr_eq(&first, &changed));
    }

    #[test]
    fn a_file_without_certificates_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty.pem");
        let missing = Trust::load(Some(&path), None).err().unwrap();
        assert!(missing.to_string().contains("empty.pem"), "{missing}");
        std::fs::write(&path, "nothing").unwrap();
        let empty = Trust::load(Some(&path), None).err().unwrap();
        assert!(matches!(empty, SetupError::NoRoots { .. }));
        assert!(empty.to_string().contains("empty.pem"), "{empty}");
    }

    #[test]
    fn hosts_may_be_names_or_addresses() {
        assert!(server_name("doh.example").is_ok());
        assert!(server_name("192.0.2.1").is_ok());
        assert!(server_name("2001:db8::1").is_ok());
        assert!(server_name("not a host").is_err());
    }
}

//! A throw-away certificate authority per test, and the certificates a backend may show.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The TLS name of every backend of the tests; never looked up by anyone.
pub const HOST: &str = "doh.test";

/// Which certificate a backend shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    Right,
    WrongName,
    Expired,
    NotYetValid,
    OtherAuthority,
    SelfSigned,
}

/// One authority with its folder: `ca.pem`, `cert.pem` (with the chain), `key.pem`.
pub struct Tls {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Tls {
    pub fn new() -> Tls {
        let folder = tempfile::tempdir().expect("a folder for certificates");
        let tls = Tls { issuer: authority("the test's authority"), folder };
        let (cert, key) = tls.pair(Shown::Right);
        let chain = cert.pem() + &tls.issuer.pem();
        std::fs::write(tls.ca(), tls.issuer.pem()).expect("ca.pem is written");
        std::fs::write(tls.cert(), chain).expect("cert.pem is written");
        std::fs::write(tls.key(), key.serialize_pem()).expect("key.pem is written");
        tls
    }

    /// The file that a client trusts.
    pub fn ca(&self) -> PathBuf {
        self.at("ca.pem")
    }

    /// The right certificate for peers that read files.
    pub fn cert(&self) -> PathBuf {
        self.at("cert.pem")
    }

    /// The key of [`Tls::cert`].
    pub fn key(&self) -> PathBuf {
        self.at("key.pem")
    }

    /// A fresh server configuration that shows `shown` and offers `alpn`.
    pub fn server(
        &self,
        shown: Shown,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<rustls::ServerConfig> {
        let (cert, key) = self.pair(shown);
        let chain = vec![cert.der().clone(), CertificateDer::from(self.issuer.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider knows these versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("certificate and key fit");
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn pair(&self, shown: Shown) -> (rcgen::Certificate, KeyPair) {
        let name = if shown == Shown::WrongName { "elsewhere.test" } else { HOST };
        let mut params =
            CertificateParams::new(vec![name.to_owned()]).expect("a valid subject name");
        let year = rcgen::date_time_ymd;
        (params.not_before, params.not_after) = match shown {
            Shown::Expired => (year(2001, 1, 1), year(2002, 1, 1)),
            Shown::NotYetValid => (year(2098, 1, 1), year(2099, 1, 1)),
            _ => (year(2001, 1, 1), year(2099, 1, 1)),
        };
        let key = KeyPair::generate().expect("a key pair");
        let cert = match shown {
            Shown::SelfSigned => params.self_signed(&key),
            Shown::OtherAuthority => params.signed_by(&key, &*authority("a stranger's authority")),
            _ => params.signed_by(&key, &*self.issuer),
        };
        (cert.expect("a certificate"), key)
    }

    fn at(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no subject names");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2099, 1, 1));
    let key = KeyPair::generate().expect("a key pair");
    CertifiedIssuer::self_signed(params, key).expect("a self-signed authority")
}

//! A DoH backend for the demonstration: real TLS, real HTTP/2, a handful of names.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode, header};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::names::{self, HOST, Known};
use crate::dns::compose::{Composer, ReplyForm};
use crate::dns::query::Query;
use crate::dns::record::Section;
use crate::dns::{rcode, rtype};

/// Longest question that is read.
const QUESTION: usize = 4096;
/// TLS must be ready within this.
const HANDSHAKE: Duration = Duration::from_secs(5);

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A certificate authority made for this run, and a certificate of it.
pub(super) struct Identity {
    ca_pem: String,
    tls: Arc<rustls::ServerConfig>,
}

impl Identity {
    /// Makes both.
    pub(super) fn new() -> Result<Identity, Fault> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Culvert demonstration CA");
        let authority_key = KeyPair::generate()?;
        let ca_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Identity { ca_pem, tls: Arc::new(tls) })
    }

    /// The authority's certificate, for the relay to trust.
    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

/// A backend on a thread of its own.
pub(super) struct Backend {
    address: SocketAddr,
    running: watch::Sender<bool>,
    asked: AtomicUsize,
    number: u8,
    records: Vec<Known>,
}

impl Backend {
    /// Starts a backend on a free port of 127.0.0.1.
    pub(super) fn start(number: u8, identity: &Identity) -> io::Result<Arc<Backend>> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        drop(listener);
        let (running, switch) = watch::channel(true);
        let asked = AtomicUsize::new(0);
        let records = names::records();
        let backend = Arc::new(Backend { address, running, asked, number, records });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (own, tls) = (Arc::clone(&backend), TlsAcceptor::from(Arc::clone(&identity.tls)));
        std::thread::Builder::new()
            .name(format!("backend-{number}"))
            .spawn(move || runtime.block_on(own.serve(tls, switch)))?;
        Ok(backend)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Questions that reached this backend.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn runs(&self) -> bool {
        *self.running.borrow()
    }

    /// Stops it, connections and all, or starts it again.
    pub(super) fn set_running(&self, running: bool) {
        self.running.send_replace(running);
    }

    /// Listens while it is to run; dropping the listener and the connections is its death.
    async fn serve(self: Arc<Self>, tls: TlsAcceptor, mut switch: watch::Receiver<bool>) {
        loop {
            if switch.wait_for(|running| *running).await.is_err() {
                return;
            }
            let Ok(listener) = TcpListener::bind(self.address).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        connections.spawn(Arc::clone(&self).converse(tls.clone(), stream));
                    }
                    stopped = switch.wait_for(|running| !*running) => {
                        if stopped.is_err() {
                            return;
                        }
                        break;
                    }
                }
            }
        }
    }

    async fn converse(self: Arc<Self>, tls: TlsAcceptor, stream: TcpStream) {
        // a client that breaks off is no fault of the demonstration
        let _ = stream.set_nodelay(true);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else {
            return;
        };
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let own = Arc::clone(&self);
            tokio::spawn(async move {
                let _ = own.answer(request, respond).await;
            });
        }
    }

    async fn answer(
        &self,
        request: Request<h2::RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let status = |status| {
            let mut response = Response::new(());
            *response.status_mut() = status;
            response
        };
        if request.method() != Method::POST || request.uri().path() != "/dns-query" {
            respond.send_response(status(StatusCode::NOT_FOUND), true)?;
            return Ok(());
        }
        let mut body = request.into_body();
        let mut question = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            question.extend(chunk);
            if question.len() > QUESTION {
                respond.send_response(status(StatusCode::PAYLOAD_TOO_LARGE), true)?;
                return Ok(());
            }
        }
        let Ok(query) = Query::read(&question) else {
            respond.send_response(status(StatusCode::BAD_REQUEST), true)?;
            return Ok(());
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut response = status(StatusCode::OK);
        let kind = header::HeaderValue::from_static("application/dns-message");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        let mut stream = respond.send_response(response, false)?;
        stream.send_data(self.message(&query).into(), true)
    }

    /// The DNS answer: the alias first, then what it leads to.
    fn message(&self, query: &Query) -> Vec<u8> {
        let mut name = query.question.name;
        let mut found = Vec::new();
        let alias = self.records.iter().find(|r| r.owner == name && r.rtype == rtype::CNAME);
        if let Some(alias) = alias
            && let Ok(target) = crate::dns::name::Name::from_wire(&alias.rdata)
        {
            found.push(alias);
            name = target;
        }
        let wanted = |r: &&Known| r.owner == name && r.rtype == query.question.rtype;
        found.extend(self.records.iter().filter(wanted));
        // which backend it is: never cached, so that every look shows the one in use
        let which = [b"\x09backend ".as_slice(), &[b'0' + self.number]].concat();
        let is_which = name.to_string() == "which.example.com";
        let exists = is_which || name.is_root() || self.records.iter().any(|r| r.owner == name);
        let code = if exists { rcode::NOERROR } else { rcode::NXDOMAIN };
        let mut buf = vec![0; 65_535];
        let mut out = Composer::reply(&mut buf, query, ReplyForm::stream(1232), code, None);
        for record in &found {
            out.record(Section::Answer, &record.owner, record.rtype, record.ttl, &record.rdata);
        }
        if is_which && query.question.rtype == rtype::TXT {
            out.record(Section::Answer, &name, rtype::TXT, 0, &which);
        } else if found.iter().all(|r| r.rtype == rtype::CNAME) {
            let zone = name.suffix(1);
            let mut soa = [zone.as_wire(), zone.as_wire()].concat();
            for n in [1u32, 3600, 600, 86_400, 60] {
                soa.extend(n.to_be_bytes());
            }
            out.record(Section::Authority, &zone, rtype::SOA, 60, &soa);
        }
        let len = out.finish();
        buf.truncate(len);
        buf
    }
}

//! Looking at backends on purpose: the prober that keeps health up to date, and one careful
//! look at each backend for the operator (`culvert probe`).

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::{sleep_until, timeout};

use super::connection::{self, Endpoint, Room};
use super::failure::{Fault, status_meaning};
use super::fetch::{doh_message, read_answer};
use super::health::Event;
use super::{Lane, Upstream, doh, limits, plain};
use crate::dns::answer::Answer;
use crate::dns::name::Name;
use crate::dns::question::Question;
use crate::dns::{rcode, rtype};

impl Upstream {
    /// Watches one backend for ever: probes it whenever its health asks for it.
    pub(super) async fn watch(&self, lane: usize) {
        let backend = &self.lanes[lane].backend;
        loop {
            match backend.next_look() {
                Some(at) => tokio::select! {
                    () = sleep_until(at.into()) => {}
                    () = backend.look.notified() => {}
                },
                None => backend.look.notified().await,
            }
            if backend.wants_probe() {
                let outcome = timeout(limits::PROBE_TIMEOUT, self.probe(lane)).await;
                backend.report(Event::Probed(outcome.unwrap_or(Err(Fault::Unanswered))));
            }
        }
    }

    /// Asks one backend for the root's servers, over the pooled connection.
    async fn probe(&self, lane: usize) -> Result<(), Fault> {
        let lane = &self.lanes[lane];
        let q = Question::plain(Name::ROOT, rtype::NS);
        let Some(urls) = &self.urls else {
            // any answer shows that the server is there: not every one knows the root
            let answer = plain::exchange(lane.backend.address, &q);
            let answer = timeout(limits::TRY_TIMEOUT_MAX, answer).await;
            return answer.unwrap_or(Err(Fault::Unanswered)).map(drop);
        };
        let message = doh_message(&q);
        loop {
            let permit = lane.backend.stream(0).await?;
            let path = lane.path.load(Relaxed);
            let request = urls.request(path, message.len());
            let reply = doh::exchange(&permit, request, message.clone());
            let reply = match timeout(limits::TRY_TIMEOUT_MAX, reply).await {
                Ok(reply) => reply,
                Err(_) => {
                    permit.connection().want_ping();
                    Err(Fault::Unanswered)
                }
            };
            match reply.and_then(|reply| read_answer(&q, &reply, lane.backend.address)) {
                Ok(fetched) => {
                    lane.path_is_good(path);
                    let sick = fetched.answer.rcode() == rcode::SERVFAIL;
                    // a peer does better; alone, a SERVFAIL is better than nothing
                    return if sick && lane.backend.has_peer_up() {
                        Err(Fault::Worse)
                    } else {
                        Ok(())
                    };
                }
                Err(Fault::WrongPath(status))
                    if lane.next_path(&self.settings.name, path, status) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Asks each backend once, on a connection of its own, and reports all there is to see.
    pub async fn probe_each(&self, q: &Question) -> Vec<ProbeReport> {
        let looks = self.lanes.iter().map(|lane| self.look_at(lane, q));
        futures_util::future::join_all(looks).await
    }

    async fn look_at(&self, lane: &Lane, q: &Question) -> ProbeReport {
        let started = Instant::now();
        let mut report = ProbeReport::new(lane);
        let look = async {
            match (lane.backend.endpoint(), &self.urls) {
                (Some(endpoint), Some(urls)) => {
                    let path = lane.path.load(Relaxed);
                    report.path = Some(path + 1);
                    look_over_doh(endpoint, urls, path, q, &mut report).await
                }
                _ => {
                    let answer = plain::exchange(lane.backend.address, q).await?;
                    report.describe(&answer);
                    Ok(())
                }
            }
        };
        let outcome = timeout(limits::FETCH_DEADLINE, look).await;
        report.error = outcome.unwrap_or(Err(Fault::Unanswered)).err().map(|f| f.to_string());
        report.total_ms = in_ms(started.elapsed());
        report
    }
}

async fn look_over_doh(
    endpoint: &Endpoint,
    urls: &doh::Urls,
    path: usize,
    q: &Question,
    report: &mut ProbeReport,
) -> Result<(), Fault> {
    let secured = match connection::secure(endpoint, Instant::now() + limits::HANDSHAKE).await {
        Ok(secured) => secured,
        Err(fault) => {
            if let Fault::Tls(fault) = &fault {
                report.certificate = Some(fault.to_string());
            }
            return Err(fault);
        }
    };
    report.certificate = Some(format!("valid for {}", endpoint.name.to_str()));
    report.tcp_ms = Some(in_ms(secured.tcp));
    report.tls_ms = Some(in_ms(secured.tls));
    let session = secured.stream.get_ref().1;
    report.tls_version = session.protocol_version().and_then(|v| v.as_str().map(str::to_owned));
    report.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let (connection, driver) = connection::start(secured, Room::default().into()).await?;
    let driver = Running(tokio::spawn(driver));
    let permit = connection.permit().map_err(|_| Fault::Busy)?;
    let message = doh_message(q);
    let response = doh::send(&permit, urls.request(path, message.len()), message).await?;
    let (head, body) = response.into_parts();
    report.http_version = Some(format!("{:?}", head.version));
    report.status = Some(head.status.as_u16());
    report.status_meaning = Some(status_meaning(head.status.as_u16()));
    report.content_type = head
        .headers
        .get(http::header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    report.max_age = doh::cache_control(&head.headers).max_age;
    report.age = doh::number(&head.headers, "age");
    doh::check_status(head.status, &head.headers)?;
    let body = doh::read(body).await?;
    report.body_size = Some(body.len());
    doh::check_type(&head.headers)?;
    report.describe(&Answer::receive(q, &body).map_err(Fault::Answer)?);
    drop(driver);
    Ok(())
}

/// Ends the task of the probe's connection with the probe.
struct Running(tokio::task::JoinHandle<Option<Fault>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one look at a backend showed. The URL's path is not in it.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    /// Where the backend is.
    pub address: SocketAddr,
    /// Used only while no other is up.
    pub standby: bool,
    /// Number of the path that was asked, counted from 1.
    pub path: Option<usize>,
    /// Time to connect, in milliseconds.
    pub tcp_ms: Option<f64>,
    /// Time for TLS, in milliseconds.
    pub tls_ms: Option<f64>,
    /// Whether the certificate is good, in words.
    pub certificate: Option<String>,
    /// Version of TLS.
    pub tls_version: Option<String>,
    /// Protocol agreed on.
    pub alpn: Option<String>,
    /// Version of HTTP.
    pub http_version: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// What that status means here.
    pub status_meaning: Option<&'static str>,
    /// Octets of the body.
    pub body_size: Option<usize>,
    /// Content-Type, as sent.
    pub content_type: Option<String>,
    /// DNS response code.
    pub rcode: Option<String>,
    /// Smallest TTL in seconds.
    pub ttl: Option<u32>,
    /// Cache-Control: max-age in seconds.
    pub max_age: Option<u32>,
    /// Age in seconds.
    pub age: Option<u64>,
    /// The first address in the answer, if there is one.
    pub first_address: Option<IpAddr>,
    /// Everything together, in milliseconds.
    pub total_ms: f64,
    /// What went wrong, in words.
    pub error: Option<String>,
}

impl ProbeReport {
    fn new(lane: &Lane) -> Self {
        ProbeReport {
            address: lane.backend.address,
            standby: lane.standby,
            path: None,
            tcp_ms: None,
            tls_ms: None,
            certificate: None,
            tls_version: None,
            alpn: None,
            http_version: None,
            status: None,
            status_meaning: None,
            body_size: None,
            content_type: None,
            rcode: None,
            ttl: None,
            max_age: None,
            age: None,
            first_address: None,
            total_ms: 0.0,
            error: None,
        }
    }

    fn describe(&mut self, answer: &Answer) {
        self.rcode = Some(rcode::text(answer.rcode()));
        self.ttl = answer.ttl();
        self.first_address = answer.records().find_map(|record| {
            let rdata = answer.message().get(record.rdata.clone())?;
            match record.rtype {
                rtype::A => <[u8; 4]>::try_from(rdata).ok().map(IpAddr::from),
                rtype::AAAA => <[u8; 16]>::try_from(rdata).ok().map(IpAddr::from),
                _ => None,
            }
        });
    }
}

/// Milliseconds with one digit behind the point.
fn in_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

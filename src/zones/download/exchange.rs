//! One request and its answer on one connection (RFC 9112).

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::body::{self, Packing};
use super::target::Target;
use super::{Bounds, Fault, Fetched, Validators};
use crate::limits::download as limits;
use crate::upstream::retry_after;

/// Whom we say we are.
const USER_AGENT: &str = concat!("culvert/", env!("CARGO_PKG_VERSION"));

/// What is asked, and what the answer may take.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) target: &'a Target,
    pub(super) known: &'a Validators,
    pub(super) max_bytes: u64,
    pub(super) bounds: &'a Bounds,
}

/// What the answer says.
pub(super) enum Reply {
    /// It is here, or has not changed.
    Done(Fetched),
    /// It is elsewhere: the Location field.
    Moved(String),
}

/// Sends the request and takes the answer. The connection serves this one only.
pub(super) async fn exchange(
    stream: TlsStream<TcpStream>,
    request: Request<'_>,
) -> Result<Reply, Fault> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(limits::READ_BUFFER)
        .max_header_size(limits::HEAD_OCTETS)
        .max_headers(limits::HEAD_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Fault::Http(error.to_string()))?;
    // ends with this function, whichever way that ends
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = timeout(request.bounds.head, sender.send_request(request.head()?))
        .await
        .map_err(|_| Fault::NoAnswer(request.bounds.head))?
        .map_err(|error| Fault::Http(error.to_string()))?;
    let (head, body) = answer.into_parts();
    match Said::by(head.status, &head.headers)? {
        Said::Moved(location) => Ok(Reply::Moved(location)),
        Said::NotModified if request.known.is_empty() => Err(Fault::Unasked),
        Said::NotModified => Ok(Reply::Done(Fetched::NotModified)),
        Said::Here => {
            let text = request.body(&head.headers, body).await?;
            let validators = Validators::of(&head.headers);
            Ok(Reply::Done(Fetched::List { text, validators }))
        }
    }
}

impl Request<'_> {
    /// The request as it is sent.
    fn head(&self) -> Result<http::Request<Empty<Bytes>>, Fault> {
        let mut head = http::Request::new(Empty::new());
        *head.uri_mut() = self.target.path().clone().into();
        let host = HeaderValue::from_str(self.target.authority()).map_err(|_| Fault::Url)?;
        let fields = head.headers_mut();
        fields.insert(header::HOST, host);
        for (name, value) in [
            (header::USER_AGENT, USER_AGENT),
            (header::ACCEPT, "*/*"),
            (header::ACCEPT_ENCODING, "gzip"),
            (header::CONNECTION, "close"),
        ] {
            fields.insert(name, HeaderValue::from_static(value));
        }
        // what is no field's value was damaged on the disk, and the whole list comes then
        let Validators { etag, last_modified } = self.known;
        for (name, value) in
            [(header::IF_NONE_MATCH, etag), (header::IF_MODIFIED_SINCE, last_modified)]
        {
            let value = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok());
            fields.extend(value.map(|value| (name, value)));
        }
        Ok(head)
    }

    async fn body(&self, fields: &HeaderMap, body: Incoming) -> Result<Vec<u8>, Fault> {
        let packing = Packing::of(fields)?;
        body::read(body, packing, self.max_bytes, self.bounds).await
    }
}

/// What the head of an answer says.
enum Said {
    Here,
    NotModified,
    Moved(String),
}

impl Said {
    fn by(status: StatusCode, fields: &HeaderMap) -> Result<Said, Fault> {
        match status.as_u16() {
            200 => Ok(Said::Here),
            304 => Ok(Said::NotModified),
            301 | 302 | 303 | 307 | 308 => {
                let location = fields.get(header::LOCATION).and_then(|value| value.to_str().ok());
                location.map(|text| Said::Moved(text.to_owned())).ok_or(Fault::BadRedirect)
            }
            code @ (429 | 503) => {
                let wait = fields.get(header::RETRY_AFTER).and_then(|value| {
                    let longest = limits::RETRY_AFTER_MAX;
                    retry_after(value.as_bytes(), SystemTime::now(), longest)
                });
                Err(Fault::Busy(code, wait))
            }
            code => Err(Fault::Status(code)),
        }
    }
}

impl Validators {
    /// What an answer's head says; a value that is too long is done without.
    fn of(fields: &HeaderMap) -> Validators {
        let value = |name| {
            let text = fields.get(name).and_then(|value| value.to_str().ok());
            text.filter(|text| text.len() <= limits::VALIDATOR).map(str::to_owned)
        };
        Validators { etag: value(header::ETAG), last_modified: value(header::LAST_MODIFIED) }
    }

    fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

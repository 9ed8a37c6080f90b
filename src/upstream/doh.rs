//! A DNS message as an HTTP/2 request, and back (RFC 8484).

use std::future::poll_fn;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use super::connection::StreamPermit;
use super::failure::Fault;
use super::settings::{DohSettings, SetupError};
use super::{limits, retry_after};

const DNS_MESSAGE: HeaderValue = HeaderValue::from_static("application/dns-message");

/// The URLs of a service, ready to be sent; one for each path.
pub(super) struct Urls {
    urls: Vec<Uri>,
}

/// What a backend gave back: the body, and what HTTP says about its age.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Bytes,
    pub(super) age: u32,
    pub(super) max_age: Option<u32>,
    pub(super) no_store: bool,
}

impl Urls {
    /// Builds the URLs of `:authority` and each path.
    pub(super) fn new(settings: &DohSettings) -> Result<Urls, SetupError> {
        if settings.paths.is_empty() {
            return Err(SetupError::NoPath);
        }
        let authority = authority(&settings.host, settings.port);
        let urls = settings.paths.iter().map(|path| {
            Uri::builder()
                .scheme("https")
                .authority(authority.as_str())
                .path_and_query(path.reveal())
                .build()
                .map_err(|_| SetupError::Host(settings.host.clone()))
        });
        Ok(Urls { urls: urls.collect::<Result<_, _>>()? })
    }

    /// How many there are; at least one.
    pub(super) fn len(&self) -> usize {
        self.urls.len()
    }

    /// The request for a question of `length` octets to the URL of path `path` (from 0).
    pub(super) fn request(&self, path: usize, length: usize) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.urls[path].clone();
        let headers = request.headers_mut();
        headers.reserve(3);
        headers.insert(CONTENT_TYPE, DNS_MESSAGE);
        headers.insert(ACCEPT, DNS_MESSAGE);
        headers.insert(CONTENT_LENGTH, length.into());
        request
    }
}

/// `host`, or `host:port` where the port is not that of HTTPS.
fn authority(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 443 { host } else { format!("{host}:{port}") }
}

/// Sends one question and reads what comes back. The permit is held until then.
pub(super) async fn exchange(
    permit: &StreamPermit,
    request: Request<()>,
    question: Bytes,
) -> Result<Reply, Fault> {
    let response = send(permit, request, question).await?;
    permit.answered();
    let (head, body) = response.into_parts();
    check_status(head.status, &head.headers)?;
    check_type(&head.headers)?;
    let announced = number(&head.headers, CONTENT_LENGTH.as_str());
    if announced.is_some_and(|n| n > limits::BODY_MAX as u64) {
        return Err(Fault::TooLarge);
    }
    let body = read(body).await?;
    let cache = cache_control(&head.headers);
    let age = number(&head.headers, AGE.as_str()).unwrap_or(0);
    Ok(Reply {
        body,
        age: u32::try_from(age).unwrap_or(u32::MAX),
        max_age: cache.max_age,
        no_store: cache.no_store,
    })
}

/// Sends a request and waits for the head of the response.
pub(super) async fn send(
    permit: &StreamPermit,
    request: Request<()>,
    question: Bytes,
) -> Result<Response<RecvStream>, Fault> {
    // A connection that cannot take a request any more did not send it.
    let mut sender = permit.sender();
    let (response, mut body) = sender.send_request(request, false).map_err(|_| {
        permit.connection().retire();
        Fault::NotProcessed
    })?;
    body.send_data(question, true).map_err(|error| Fault::of_stream(&error))?;
    response.await.map_err(|error| {
        if error.is_go_away() {
            permit.connection().retire();
        }
        Fault::of_stream(&error)
    })
}

/// Reads a body up to the longest DNS message. Dropping the rest resets the stream.
pub(super) async fn read(mut body: RecvStream) -> Result<Bytes, Fault> {
    let mut whole = Bytes::new();
    let mut parts: Option<BytesMut> = None;
    while let Some(part) = poll_fn(|cx| body.poll_data(cx)).await {
        let part = part.map_err(|error| Fault::of_stream(&error))?;
        // the peer may send as much again
        let _ = body.flow_control().release_capacity(part.len());
        let length = whole.len() + parts.as_ref().map_or(0, BytesMut::len) + part.len();
        if length > limits::BODY_MAX {
            return Err(Fault::TooLarge);
        }
        match &mut parts {
            Some(parts) => parts.extend_from_slice(&part),
            // nearly every answer is one part: it is not copied
            None if whole.is_empty() => whole = part,
            None => {
                let mut joined = BytesMut::with_capacity(2 * length);
                joined.extend_from_slice(&std::mem::take(&mut whole));
                joined.extend_from_slice(&part);
                parts = Some(joined);
            }
        }
    }
    Ok(parts.map_or(whole, BytesMut::freeze))
}

/// Any 2xx is an answer; everything else is a fault of its own kind.
pub(super) fn check_status(status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    match status.as_u16() {
        200..=299 => Ok(()),
        code @ (401 | 403 | 404) => Err(Fault::WrongPath(code)),
        code @ (429 | 503) => {
            let wait = headers.get(RETRY_AFTER);
            let longest = limits::RETRY_AFTER_MAX;
            let wait = wait.and_then(|v| retry_after(v.as_bytes(), SystemTime::now(), longest));
            Err(Fault::Limited(code, wait))
        }
        code => Err(Fault::Status(code)),
    }
}

/// `application/dns-message`, with or without parameters.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/dns-message") => Ok(()),
        _ => Err(Fault::ContentType),
    }
}

/// What Cache-Control says that matters to a DNS cache.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CacheControl {
    pub(super) max_age: Option<u32>,
    pub(super) no_store: bool,
}

/// Reads Cache-Control (RFC 9111 section 5.2.2). Of several max-ages the smallest counts.
pub(super) fn cache_control(headers: &HeaderMap) -> CacheControl {
    let mut found = CacheControl::default();
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => found.no_store = true,
            "max-age" => {
                let Some(seconds) = digits(value.trim().trim_matches('"')) else { continue };
                let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
                found.max_age = Some(found.max_age.map_or(seconds, |old| old.min(seconds)));
            }
            _ => {}
        }
    }
    found
}

/// A header that is a number of any length; too large ones saturate.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    digits(headers.get(name)?.to_str().ok()?.trim())
}

fn digits(text: &str) -> Option<u64> {
    let number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::settings::Path;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn the_port_is_named_only_if_it_is_not_443() {
        assert_eq!(authority("doh.example", 443), "doh.example");
        assert_eq!(authority("doh.example", 8443), "doh.example:8443");
        assert_eq!(authority("2001:db8::1", 8443), "[2001:db8::1]:8443");
    }

    #[test]
    fn requests_are_as_the_rfc_wants_them() {
        let settings = DohSettings {
            host: "doh.example".to_owned(),
            port: 443,
            paths: vec![Path::new(1, "/a").unwrap(), Path::new(2, "/b/c").unwrap()],
            addresses: Vec::new(),
            standby: Vec::new(),
            ca: None,
        };
        let request = Urls::new(&settings).unwrap().request(1, 128);
        assert_eq!(request.uri(), "https://doh.example/b/c");
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.headers()["accept"], "application/dns-message");
        assert_eq!(request.headers()["content-length"], "128");
    }

    #[test]
    fn statuses_are_told_apart() {
        let check =
            |code, pairs: &[_]| check_status(StatusCode::from_u16(code).unwrap(), &headers(pairs));
        assert_eq!(check(204, &[]), Ok(()));
        assert_eq!(check(404, &[]), Err(Fault::WrongPath(404)));
        assert_eq!(check(301, &[]), Err(Fault::Status(301)));
        assert_eq!(check(502, &[]), Err(Fault::Status(502)));
        let wait = Some(std::time::Duration::from_secs(7));
        assert_eq!(check(429, &[("retry-after", "7")]), Err(Fault::Limited(429, wait)));
        assert_eq!(check(503, &[("retry-after", "-7")]), Err(Fault::Limited(503, None)));
    }

    #[test]
    fn content_type_may_have_parameters_but_must_be_there() {
        let check = |value| check_type(&headers(&[("content-type", value)]));
        assert_eq!(check("application/dns-message"), Ok(()));
        assert_eq!(check("Application/DNS-Message ; charset=x"), Ok(()));
        assert_eq!(check("text/html"), Err(Fault::ContentType));
        assert_eq!(check("application/dns-messages"), Err(Fault::ContentType));
        assert_eq!(check_type(&HeaderMap::new()), Err(Fault::ContentType));
    }

    #[test]
    fn cache_control_and_age_are_read_and_saturate() {
        let read = |value| cache_control(&headers(&[("cache-control", value)]));
        let is = |max_age, no_store| CacheControl { max_age, no_store };
        assert_eq!(read("max-age=60"), is(Some(60), false));
        assert_eq!(read("private, Max-Age = \"7\" ,NO-STORE"), is(Some(7), true));
        assert_eq!(read("max-age=60, max-age=5"), is(Some(5), false));
        assert_eq!(read("max-age=-1, s-maxage=9, max-age"), is(None, false));
        assert_eq!(read("max-age=99999999999999999999999"), is(Some(u32::MAX), false));
        let age = headers(&[("age", "99999999999999999999999")]);
        assert_eq!(number(&age, "age"), Some(u64::MAX));
    }
}

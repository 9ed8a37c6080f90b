//! HTTP for machines: `/metrics`, `/healthz`, `/status`. Read-only, bounded, loopback by default;
//! beyond this host only for those whom the configuration names.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Operator, control, exposition};
use crate::limits;

/// Serves until dropped.
pub async fn serve(listener: std::net::TcpListener, operator: Arc<dyn Operator>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(limits::STATUS_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let Ok((stream, client)) = listener.accept().await else {
            tokio::time::sleep(limits::ACCEPT_BACK_OFF).await;
            continue;
        };
        let operator = Arc::clone(&operator);
        let own = stream.local_addr().is_ok_and(|own| is_this_host(client, own));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let admitted = own || operator.may_see_status(client.ip().to_canonical());
                let response = match admitted {
                    true => respond(request.method(), request.uri().path(), &*operator),
                    false => page(StatusCode::FORBIDDEN, TEXT, NOT_FOR_YOU.to_owned()),
                };
                async { Ok::<_, Infallible>(response) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits::STATUS_DEADLINE)
                .max_buf_size(16 << 10)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // what a client does wrong here is its own affair
            let _ = timeout(limits::STATUS_DEADLINE, serving).await;
            drop(place);
        });
    }
}

/// What a host gets that the configuration does not name.
const NOT_FOR_YOU: &str = "this address is not in status.allow\n";

/// A connection from this host: from loopback, or from the very address that it goes to.
fn is_this_host(client: SocketAddr, own: SocketAddr) -> bool {
    let client = client.ip().to_canonical();
    client.is_loopback() || client == own.ip().to_canonical()
}

type Page = Response<Full<Bytes>>;

fn respond(method: &Method, path: &str, operator: &dyn Operator) -> Page {
    if method != Method::GET && method != Method::HEAD {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
    }
    match path {
        "/metrics" => match exposition::text(&operator.status()) {
            Ok(text) => page(StatusCode::OK, exposition::CONTENT_TYPE, text),
            Err(_) => {
                let text = "the metrics cannot be written\n".to_owned();
                page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
            }
        },
        "/healthz" => match operator.status().trouble() {
            None => page(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(trouble) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{trouble}\n")),
        },
        "/status" => {
            let json = control::status_json(operator).to_string();
            page(StatusCode::OK, "application/json", json)
        }
        _ => page(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /healthz and /status\n".to_owned(),
        ),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn page(status: StatusCode, content_type: &'static str, text: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    // names from queries may be in here: no browser is to guess, frame or keep it
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_told_from_others() {
        for (client, own, is) in [
            ("127.0.0.1:40000", "127.0.0.1:8053", true),
            ("127.0.0.5:40000", "0.0.0.0:8053", true),
            ("192.0.2.11:40000", "192.0.2.11:8053", true),
            ("192.0.2.12:40000", "192.0.2.11:8053", false),
            ("[::1]:40000", "[2001:db8::11]:8053", true),
            ("[::ffff:192.0.2.11]:40000", "192.0.2.11:8053", true),
            ("[2001:db8::12]:40000", "[2001:db8::11]:8053", false),
        ] {
            let (client, own) = (client.parse().unwrap(), own.parse().unwrap());
            assert_eq!(is_this_host(client, own), is, "{client} {own}");
        }
    }
}

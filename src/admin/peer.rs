//! The other relay of a pair, asked over HTTP for its status.

use std::io;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits;

/// Port of the status listener if none is named.
const PORT: u16 = 8053;

/// A host and its status port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    host: String,
    port: u16,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl std::str::FromStr for Peer {
    type Err = String;

    /// Reads `HOST`, `HOST:PORT`, `V6` or `[V6]:PORT`.
    fn from_str(text: &str) -> Result<Peer, String> {
        let wrong = || "write the other relay as HOST or HOST:PORT".to_owned();
        let peer = |host: String, port| Peer { host, port };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(peer(address.ip().to_string(), address.port()));
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(peer(ip.to_string(), PORT));
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, PORT),
        };
        let letters = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if host.is_empty() || port == 0 || !host.bytes().all(letters) {
            return Err(wrong());
        }
        Ok(peer(host.to_owned(), port))
    }
}

impl Peer {
    /// Its `/status`. The error says what is in the way, and what to do.
    pub async fn status(&self) -> Result<Value, String> {
        let limit = limits::STATUS_DEADLINE;
        let text = timeout(limit, self.get())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
            .map_err(|reason| format!("{self}: {reason}"))?;
        let status: Option<Value> = serde_json::from_slice(&text).ok();
        let status = status.filter(is_status);
        status.ok_or_else(|| format!("{self}: this is not the status of a relay"))
    }

    async fn get(&self) -> Result<Bytes, String> {
        let stream = self.connect().await.map_err(|e| match e.kind() {
            io::ErrorKind::ConnectionRefused => format!(
                "nothing listens there; set status.listen of that relay to this address, and \
                 status.allow to ours ({e})"
            ),
            _ => e.to_string(),
        })?;
        let own = stream.local_addr().map_or_else(|e| e.to_string(), |own| own.ip().to_string());
        let broken = |e: hyper::Error| format!("the answer broke off: {e}");
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(16 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // ends with this function, whichever way that ends
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = http::Uri::from_static("/status");
        let host = HeaderValue::from_str(&self.to_string()).map_err(|e| e.to_string())?;
        request.headers_mut().insert(header::HOST, host);
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        match head.status {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => {
                return Err(format!("it does not let us in; add {own} to its status.allow"));
            }
            other => return Err(format!("it answers {other}")),
        }
        let body = Limited::new(body, limits::PEER_STATUS).collect().await;
        Ok(body.map_err(|e| format!("the answer broke off: {e}"))?.to_bytes())
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let mut fault = io::Error::other("the name has no address");
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(e) => fault = e,
            }
        }
        Err(fault)
    }
}

/// Any web server gives JSON, and comparing takes time: no relay has more than it may have.
fn is_status(v: &Value) -> bool {
    let zones = v["zones"].as_array().is_some_and(|zones| zones.len() <= limits::POLICY_ZONES);
    let exceptions = v["exception_list"].as_array();
    zones && exceptions.is_none_or(|list| list.len() <= limits::EXCEPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_bounds() {
        let zones = |count: usize| serde_json::json!({ "zones": vec![Value::Null; count] });
        assert!(is_status(&zones(0)) && is_status(&zones(limits::POLICY_ZONES)));
        assert!(!is_status(&zones(limits::POLICY_ZONES + 1)) && !is_status(&Value::Null));
        let mut full = zones(1);
        full["exception_list"] = vec![Value::Null; limits::EXCEPTIONS + 1].into();
        assert!(!is_status(&full));
    }

    #[test]
    fn ways_to_name_the_other_relay() {
        for (text, meant) in [
            ("192.0.2.12", "192.0.2.12:8053"),
            ("192.0.2.12:80", "192.0.2.12:80"),
            ("2001:db8::12", "[2001:db8::12]:8053"),
            ("[2001:db8::12]", "[2001:db8::12]:8053"),
            ("[2001:db8::12]:80", "[2001:db8::12]:80"),
            ("dns-b.corp.example", "dns-b.corp.example:8053"),
            ("dns-b:80", "dns-b:80"),
        ] {
            assert_eq!(text.parse::<Peer>().map(|peer| peer.to_string()), Ok(meant.to_owned()));
        }
        for bad in ["", ":80", "a:", "a:0", "a:b", "http://a/", "a/b", "a b", "::1:x"] {
            assert!(bad.parse::<Peer>().is_err(), "{bad}");
        }
    }
}

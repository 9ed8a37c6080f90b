//! Backends that cannot prove who they are get no question.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{self, Act, Authority, HOST, Server};
use super::*;

async fn server(tls: rustls::ServerConfig) -> Server {
    Server::start(tls, "127.0.0.1:0".parse().unwrap(), 100, |_| Act::Answer).await
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_named_and_nothing_is_sent() {
    let good = server::authority();
    let stranger = Authority::new();
    let h2: &[&[u8]] = &[b"h2"];
    let cases = [
        (good.tls(&["other.test"], (2020, 2090), h2), TlsFault::WrongName),
        (good.tls(&["127.0.0.1"], (2020, 2090), h2), TlsFault::WrongName),
        (good.tls(&[HOST], (2020, 2021), h2), TlsFault::Expired),
        (good.tls(&[HOST], (2089, 2090), h2), TlsFault::NotYetValid),
        (stranger.tls(&[HOST], (2020, 2090), h2), TlsFault::UnknownCa),
        (good.tls(&[HOST], (2020, 2090), &[]), TlsFault::NoHttp2),
        (good.tls(&[HOST], (2020, 2090), &[b"http/1.1"]), TlsFault::NoHttp2),
    ];
    for (tls, fault) in cases {
        let backend = server(tls).await;
        let upstream = upstream(&[&backend]);
        let failures = load(&upstream, 1, 1, || {}).await;
        assert_eq!(failures, [Failure::Transport(Fault::Tls(fault.clone()))]);
        assert_eq!(backend.request_count(), 0);
        let error = upstream.status().backends[0].last_error.clone().unwrap();
        assert_eq!(error, format!("TLS: {fault}"));
    }
}

#[tokio::test]
async fn one_bad_certificate_beside_a_good_backend_costs_nothing() {
    let bad = server(server::authority().tls(&["other.test"], (2020, 2090), &[b"h2"])).await;
    let good = Server::good().await;
    let upstream = upstream(&[&bad, &good]);
    assert_eq!(load(&upstream, 50, 5, || {}).await, []);
    assert_eq!(bad.request_count(), 0);
}

#[tokio::test]
async fn tls_1_2_is_enough_and_tls_1_1_is_not() {
    let mut tls = server::good_tls();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = tls.cert_resolver.clone();
    tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let backend = server(tls).await;
    assert_eq!(load(&upstream(&[&backend]), 1, 1, || {}).await, []);

    // what a server says that knows nothing newer: alert 70, protocol_version
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let old = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await;
        }
    });
    let (upstream, _) = build(doh(&[address]).1);
    let failures = load(&upstream, 1, 1, || {}).await;
    assert_eq!(failures, [Failure::Transport(Fault::Tls(TlsFault::Version))]);
    old.abort();
}

#[tokio::test]
async fn the_host_may_be_an_address() {
    let backend = server(server::authority().tls(&["127.0.0.1"], (2020, 2090), &[b"h2"])).await;
    let (mut doh, _) = doh(&[backend.address]);
    doh.host = "127.0.0.1".to_owned();
    doh.port = backend.address.port();
    let (upstream, _) = build(settings(Kind::Doh(doh)));
    assert_eq!(load(&upstream, 1, 1, || {}).await, []);
    let authority = format!("127.0.0.1:{}", backend.address.port());
    let seen = &backend.requests()[0];
    assert_eq!(seen.head.uri.authority().unwrap().as_str(), authority);
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_and_is_shared() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let accepted = count.clone();
    let hanging = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Relaxed);
            held.push(stream);
        }
    });
    let (upstream, _) = build(doh(&[address]).1);
    let failures = load(&upstream, 30, 30, || {}).await;
    assert_eq!(failures.len(), 30);
    assert!(failures.iter().all(|f| f.ede() == 23 || f.ede() == 22));
    assert!(count.load(Relaxed) <= 2, "{count:?}");
    hanging.abort();
}

//! Internal servers over plain DNS.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::server::answer;
use super::*;

fn plain(servers: &[SocketAddr]) -> Arc<Upstream> {
    build(settings(Kind::Plain { servers: servers.to_vec() })).0
}

/// A UDP server that sends what `make` makes of each query.
async fn udp(
    mut make: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buf = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buf).await {
            for reply in make(&buf[..length]) {
                socket.send_to(&reply, client).await.unwrap();
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn strangers_answers_are_passed_over() {
    let (address, _task) = udp(|query| {
        assert_eq!(&query[2..4], [1, 0]);
        let right = answer(query, 0, 0, 1);
        let mut other_id = right.clone();
        other_id[0] ^= 0xff;
        let mut other_name = right.clone();
        other_name[13] ^= 1;
        vec![vec![1], other_id, other_name, query.to_vec(), right]
    })
    .await;
    let fetched = plain(&[address]).ask(&question("www.corp.example"), 0).await.unwrap();
    assert!(fetched.plain && fetched.answer.ttl() == Some(300));
    assert_eq!(fetched.answer.records().count(), 1);
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).await.unwrap();
    let _udp = tokio::spawn(async move {
        let mut buf = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buf).await {
            socket.send_to(&answer(&buf[..length], 0, 2, 0), client).await.unwrap();
        }
    });
    let _tcp = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            let reply = answer(&query, 0, 0, 3000);
            stream.write_u16(reply.len() as u16).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    let fetched = plain(&[address]).ask(&question("big.corp.example"), 0).await.unwrap();
    assert!(!fetched.answer.truncated());
    assert_eq!(fetched.answer.records().count(), 3000);
}

#[tokio::test]
async fn a_lost_packet_is_sent_again() {
    let mut seen = 0;
    let (address, _task) = udp(move |query| {
        seen += 1;
        if seen == 1 { vec![] } else { vec![answer(query, 0, 0, 1)] }
    })
    .await;
    assert_eq!(load(&plain(&[address]), 1, 1, || {}).await, []);
}

#[tokio::test]
async fn a_server_that_is_gone_costs_nothing_beside_another() {
    let (good, _task) = udp(|query| vec![answer(query, 0, 0, 1)]).await;
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let upstream = plain(&[closed, good]);
    assert_eq!(load(&upstream, 40, 4, || {}).await, []);
    assert_eq!(upstream.status().state, "degraded");
    let dead = plain(&[closed]);
    let failures = load(&dead, 3, 1, || {}).await;
    assert!(failures.iter().all(|failure| failure.ede() >= 22), "{failures:?}");
    assert!(dead.all_down());
}

#[tokio::test]
async fn a_server_that_went_silent_is_found_by_the_prober() {
    // bound, so nothing refuses, and nobody reads
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = plain(&[silent.local_addr().unwrap()]);
    let _prober = keep_healthy(&upstream);
    let names: Vec<_> = (0..3).map(|i| question(&format!("{i}.corp.example"))).collect();
    let mut asks: Vec<_> = names.iter().map(|q| Box::pin(upstream.ask(q, 0))).collect();
    for ask in &mut asks {
        begin(ask).await;
    }
    until("it is down", || upstream.all_down()).await;
    let error = upstream.status().backends[0].last_error.clone().unwrap();
    assert_eq!(error, "backend does not answer questions");
}

#[tokio::test]
async fn a_silent_server_costs_nothing_beside_another() {
    let (good, _task) = udp(|query| vec![answer(query, 0, 0, 1)]).await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = plain(&[silent.local_addr().unwrap(), good]);
    assert_eq!(load(&upstream, 60, 20, || {}).await, []);
}

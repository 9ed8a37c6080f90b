//! UDP: batches in, batches out, one loop per socket.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::kept::{Leave, Life};
use super::ports::Busy;
use super::{Handler, Source, Step, Transport, is_forged, unmapped};
use crate::limits;
use crate::sys::socket::end_datagrams;
use crate::sys::{self, Inbound, Local, Outbound};

/// Serves one socket to the end of its life; what has arrived by then is still answered.
pub(super) async fn serve<H: Handler>(
    socket: std::net::UdpSocket,
    worker: usize,
    handler: Arc<H>,
    mut life: Life,
    busy: Busy,
) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let mut batch = Batch { inbound: Inbound::new(), outbound: Outbound::new(), worker, busy };
    let leave = loop {
        tokio::select! {
            ready = socket.readable() => ready?,
            leave = life.over() => break leave,
        }
        for _ in 0..limits::BATCHES_IN_A_ROW {
            // "would block" tells the runtime that the queue is empty
            match socket.try_io(Interest::READABLE, || batch.run(&socket, &handler)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // the kernel is out of memory, say; the socket has to be read on, as the store has
                // it, too, and would have the queries
                Err(e) => {
                    tracing::error!(event = "receive-failed", "a UDP socket cannot be read: {e}");
                    tokio::time::sleep(limits::ACCEPT_BACK_OFF).await;
                    break;
                }
            }
        }
        // a flood on this socket must not starve the tasks of this worker
        tokio::task::yield_now().await;
    };
    if leave == Leave::Empty
        && let Err(e) = end_datagrams(socket.as_fd())
    {
        tracing::debug!("a socket that is closed may lose what comes this moment: {e}");
    }
    // what has arrived is still answered; a flood must not keep this going for ever
    for _ in 0..limits::BATCHES_AT_THE_END {
        if batch.run(&socket, &handler).is_err() {
            break;
        }
    }
    Ok(())
}

struct Batch {
    inbound: Inbound,
    outbound: Outbound,
    worker: usize,
    busy: Busy,
}

impl Batch {
    /// Receives one batch, answers what can be answered at once, hands the rest to tasks.
    /// "Would block" means that the queue is empty now.
    fn run<H: Handler>(&mut self, socket: &Arc<UdpSocket>, handler: &Arc<H>) -> io::Result<()> {
        let count = self.inbound.receive(socket.as_fd())?;
        let round = handler.round();
        for i in 0..count {
            let datagram = self.inbound.get(i);
            let source = Source {
                client: unmapped(datagram.from),
                transport: Transport::Udp,
                worker: self.worker,
            };
            if is_forged(source.client) {
                continue;
            }
            let reply = self.outbound.buffer();
            let whole = !datagram.truncated;
            // a fault of ours costs one query, not the socket: the store would keep it unread; the
            // panic's hook tells it
            let answer = || handler.receive(&round, source, datagram.data, whole, reply);
            match catch_unwind(AssertUnwindSafe(answer)).unwrap_or(Step::Silence) {
                Step::Reply(len) => self.outbound.push(len, datagram.from, datagram.to),
                Step::Silence => {}
                Step::Later(later) => {
                    let reply = Reply {
                        socket: Arc::clone(socket),
                        to: datagram.from,
                        from: datagram.to,
                        worker: self.worker,
                        _busy: self.busy.clone(),
                    };
                    tokio::spawn(reply.when_ready(Arc::clone(handler), later));
                }
            }
        }
        if !self.outbound.is_empty() {
            let sent = self.outbound.send(socket.as_fd());
            if sent.failed > 0 {
                handler.not_sent(self.worker, sent.failed);
            }
        }
        // a batch that is not full has emptied the queue; what comes later wakes us again
        let emptied = (1..sys::BATCH).contains(&count);
        if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

/// Where the reply of a waiting query goes.
struct Reply {
    socket: Arc<UdpSocket>,
    to: std::net::SocketAddr,
    from: Local,
    worker: usize,
    _busy: Busy,
}

impl Reply {
    async fn when_ready<H: Handler>(self, handler: Arc<H>, later: H::Later) {
        let Some(reply) = handler.finish(later).await else { return };
        let socket = self.socket.as_fd();
        if sys::send_one(socket, &reply, self.to, self.from).is_err() {
            handler.not_sent(self.worker, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;
    use crate::listener::kept::{Ending, Owner};

    /// Sends everything back, and panics over an empty datagram.
    struct Echo;

    impl Handler for Echo {
        type Round = ();
        type Later = ();

        fn round(&self) {}

        fn receive(&self, (): &(), _: Source, packet: &[u8], _: bool, out: &mut [u8]) -> Step<()> {
            assert!(!packet.is_empty(), "this is what the test wants");
            out[..packet.len()].copy_from_slice(packet);
            Step::Reply(packet.len())
        }

        async fn finish(&self, (): ()) -> Option<Vec<u8>> {
            None
        }

        fn welcomes(&self, _: IpAddr) -> bool {
            true
        }

        fn not_sent(&self, _: usize, _: usize) {}

        fn turned_away(&self, _: usize) {}
    }

    #[tokio::test]
    async fn a_panic_costs_one_query_and_not_the_socket() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (ending, over) = watch::channel(Ending::NotYet);
        let life = Life { ending: over, owner: Owner::Store };
        let serving = tokio::spawn(serve(socket, 0, Arc::new(Echo), life, Busy::default()));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for sent in [&b"one"[..], b"", b"two"] {
            client.send_to(sent, address).await.unwrap();
        }
        for expected in [b"one", b"two"] {
            let mut reply = [0; 16];
            let wait = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut reply));
            let length = wait.await.expect("the socket is served on").unwrap();
            assert_eq!(&reply[..length], expected);
        }
        ending.send(Ending::Stop).unwrap();
        serving.await.unwrap().unwrap();
    }
}

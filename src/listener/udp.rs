//! UDP: batches in, batches out, one loop per socket.

use std::io;
use std::os::fd::AsFd;
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
                Err(e) => return Err(e),
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
            match handler.receive(&round, source, datagram.data, whole, reply) {
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

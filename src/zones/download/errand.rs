//! One fetch from the URL to the octets: redirects, and the addresses of each host on the way.

use std::net::SocketAddr;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connect::connect;
use super::exchange::{Reply, Request, exchange};
use super::target::Target;
use super::{Bounds, Download, Failure, Fault, Fetched, Piece, Resolver, Validators, checksum};
use crate::limits::download as limits;
use crate::upstream;

/// What all requests of one fetch have in common.
pub(super) struct Errand<'a> {
    /// The list's own URL; the operator's addresses are those of its host.
    home: Target,
    addresses: &'a [SocketAddr],
    tls: TlsConnector,
    resolver: &'a dyn Resolver,
    bounds: &'a Bounds,
}

/// What a request is for.
struct Wanted<'a> {
    piece: Piece,
    known: &'a Validators,
    max_bytes: u64,
}

impl<'a> Errand<'a> {
    pub(super) fn new(
        list: &'a Download,
        resolver: &'a dyn Resolver,
        bounds: &'a Bounds,
    ) -> Result<Errand<'a>, Failure> {
        let failure = |host: String, fault| Failure { piece: Piece::List, host, at: None, fault };
        let home = Target::parse(&list.url).map_err(|fault| failure(String::new(), fault))?;
        let tls = upstream::client_config(list.ca.as_deref(), b"http/1.1")
            .map_err(|fault| failure(home.host(), Fault::Setup(fault.to_string())))?;
        let tls = TlsConnector::from(tls);
        Ok(Errand { home, addresses: &list.addresses, tls, resolver, bounds })
    }

    /// The list, unless `known` is still its newest version.
    pub(super) async fn list(&self, known: &Validators) -> Result<Fetched, Failure> {
        let wanted = Wanted { piece: Piece::List, known, max_bytes: self.bounds.max_bytes };
        self.get(self.home.clone(), &wanted).await
    }

    /// The checksum that is published there.
    pub(super) async fn checksum(&self, url: &str) -> Result<[u8; 32], Failure> {
        let max_bytes = limits::CHECKSUM_OCTETS;
        let wanted = Wanted { piece: Piece::Checksum, known: &Validators::default(), max_bytes };
        let fail = |host, fault| Failure { piece: wanted.piece, host, at: None, fault };
        let target = Target::parse(url).map_err(|fault| fail(self.home.host(), fault))?;
        let host = target.host();
        let sum = match self.get(target, &wanted).await? {
            Fetched::List { text, .. } => checksum::find(&text),
            Fetched::NotModified => None,
        };
        sum.ok_or_else(|| fail(host, Fault::NoChecksum))
    }

    /// A fault of the list's own host.
    pub(super) fn failure(&self, fault: Fault) -> Failure {
        Failure { piece: Piece::List, host: self.home.host(), at: None, fault }
    }

    /// Follows redirects until something comes.
    async fn get(&self, mut target: Target, wanted: &Wanted<'_>) -> Result<Fetched, Failure> {
        let fail = |target: &Target, fault| {
            let host = target.host();
            Failure { piece: wanted.piece, host, at: None, fault }
        };
        for _ in 0..=limits::REDIRECTS {
            match self.ask(&target, wanted).await? {
                Reply::Done(fetched) => return Ok(fetched),
                Reply::Moved(location) => {
                    target = target.join(&location).map_err(|fault| fail(&target, fault))?;
                }
            }
        }
        Err(fail(&target, Fault::Redirects))
    }

    /// Asks one host, at one address after the other until one of them does its part.
    async fn ask(&self, target: &Target, wanted: &Wanted<'_>) -> Result<Reply, Failure> {
        let fail = |at, fault| Failure { piece: wanted.piece, host: target.host(), at, fault };
        let addresses = self.addresses(target).await.map_err(|fault| fail(None, fault))?;
        let mut last = fail(None, Fault::Resolve("it has no address".to_owned()));
        for address in addresses.into_iter().take(limits::ADDRESSES) {
            match self.ask_at(address, target, wanted).await {
                Ok(reply) => return Ok(reply),
                Err(fault) if fault.is_of_the_address() => last = fail(Some(address), fault),
                Err(fault) => return Err(fail(Some(address), fault)),
            }
        }
        Err(last)
    }

    async fn ask_at(
        &self,
        address: SocketAddr,
        target: &Target,
        wanted: &Wanted<'_>,
    ) -> Result<Reply, Fault> {
        let name = upstream::server_name(&target.host()).map_err(|_| Fault::Url)?;
        let stream = connect(address, name, &self.tls, self.bounds.connect).await?;
        let Wanted { known, max_bytes, .. } = *wanted;
        exchange(stream, Request { target, known, max_bytes, bounds: self.bounds }).await
    }

    /// Where a host is: the operator's addresses are for the list's own host alone.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Fault> {
        let (host, port) = (target.host(), target.port());
        if host == self.home.host() && !self.addresses.is_empty() {
            // they have ports of their own, which stand for the URL's
            let own = |at: &SocketAddr| match port == self.home.port() {
                true => *at,
                false => SocketAddr::new(at.ip(), port),
            };
            return Ok(self.addresses.iter().map(own).collect());
        }
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = timeout(self.bounds.head, self.resolver.addresses(&host))
            .await
            .map_err(|_| Fault::Resolve("no answer in time".to_owned()))?
            .map_err(Fault::Resolve)?;
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

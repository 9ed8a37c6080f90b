//! The addresses of a list's host, found through the relay's own default upstream: policy does
//! not stand between the relay and its supply.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::Relay;
use crate::dns::name::Name;
use crate::dns::question::Question;
use crate::dns::rtype;
use crate::upstream::Upstream;
use crate::zones::Later;
use crate::zones::download::Resolver;

/// Looks up through the default upstream.
pub(super) struct OwnUpstream {
    pub(super) relay: Weak<Relay>,
    /// The runtime whose connections are used.
    pub(super) main: Handle,
}

impl Resolver for OwnUpstream {
    fn addresses(&self, host: &str) -> Later<Result<Vec<IpAddr>, String>> {
        let upstream = self.relay.upgrade().map(|relay| Arc::clone(&relay.lock().upstreams[0]));
        let Some(upstream) = upstream else { return Box::pin(async { Err("stopping".into()) }) };
        let Ok(name) = host.parse::<Name>() else {
            let fault = format!("{host} is not a host name");
            return Box::pin(async { Err(fault) });
        };
        let asking = self.main.spawn(async move { both(&upstream, name).await });
        Box::pin(async { asking.await.unwrap_or_else(|_| Err("the look-up was ended".into())) })
    }
}

/// IPv4 first: not every host can use the other.
async fn both(upstream: &Arc<Upstream>, name: Name) -> Result<Vec<IpAddr>, String> {
    let questions = [rtype::A, rtype::AAAA].map(|kind| Question::plain(name, kind));
    let asking = questions.iter().map(|question| upstream.ask(question, 0));
    let mut found = Vec::new();
    let mut fault = None;
    for outcome in futures_util::future::join_all(asking).await {
        match outcome {
            Ok(fetched) => fetched.answer.each_address(false, &mut |ip| found.push(ip)),
            Err(failure) => fault = Some(failure.to_string()),
        }
    }
    match (found.is_empty(), fault) {
        (false, _) => Ok(found),
        (true, Some(fault)) => Err(format!("{name} cannot be looked up: {fault}")),
        (true, None) => Err(format!("{name} has no address")),
    }
}

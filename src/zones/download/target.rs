//! What is fetched: an https URL, and where a redirect leads from it (RFC 9110 section 10.2.2).

use http::uri::PathAndQuery;
use url::{Host, Position, Url};

use super::Fault;

/// An https URL with a host and a path that HTTP can ask for.
#[derive(Clone)]
pub(super) struct Target {
    url: Url,
    path: PathAndQuery,
}

impl Target {
    /// Reads a URL that the operator wrote.
    pub(super) fn parse(text: &str) -> Result<Target, Fault> {
        Target::of(Url::parse(text).map_err(|_| Fault::Url)?, Fault::Url, Fault::Url)
    }

    /// Where `location` leads from here.
    pub(super) fn join(&self, location: &str) -> Result<Target, Fault> {
        let url = self.url.join(location).map_err(|_| Fault::BadRedirect)?;
        Target::of(url, Fault::BadRedirect, Fault::PlainRedirect)
    }

    fn of(url: Url, bad: Fault, not_https: Fault) -> Result<Target, Fault> {
        if url.scheme() != "https" {
            return Err(not_https);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.host().is_none() {
            return Err(bad);
        }
        let path = url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| bad)?;
        Ok(Target { url, path })
    }

    /// The host in lower case; an IPv6 address without brackets, a name without its last dot.
    pub(super) fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name).to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.url.port().unwrap_or(443)
    }

    /// Host and port for the Host field (RFC 9110 section 7.2).
    pub(super) fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// Path and query.
    pub(super) fn path(&self) -> &PathAndQuery {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &Target) -> (String, u16, &str, &str) {
        (target.host(), target.port(), target.authority(), target.path.as_str())
    }

    fn base() -> Target {
        Target::parse("https://lists.example:8443/a/b/list.txt?key=1#part").unwrap()
    }

    #[test]
    fn urls_are_taken_apart() {
        let host = "lists.example";
        let whole = (host.to_owned(), 8443, "lists.example:8443", "/a/b/list.txt?key=1");
        assert_eq!(parts(&base()), whole);
        let bare = Target::parse("HTTPS://Lists.Example.").unwrap();
        assert_eq!(parts(&bare), (host.to_owned(), 443, "lists.example.", "/"));
        let address = Target::parse("https://[2001:DB8::1]:443/x").unwrap();
        assert_eq!(parts(&address), ("2001:db8::1".to_owned(), 443, "[2001:db8::1]", "/x"));
    }

    #[test]
    fn redirects_lead_where_they_say() {
        for (location, leads_to) in [
            ("https://other.example/x", "https://other.example/x"),
            ("//other.example/x", "https://other.example/x"),
            ("/x?y", "https://lists.example:8443/x?y"),
            ("x", "https://lists.example:8443/a/b/x"),
            ("../x", "https://lists.example:8443/a/x"),
            ("?y", "https://lists.example:8443/a/b/list.txt?y"),
        ] {
            assert_eq!(base().join(location).ok().unwrap().url.as_str(), leads_to);
        }
    }

    #[test]
    fn only_https_is_followed_and_nobody_logs_in() {
        let refused = |location: &str| base().join(location).err().unwrap();
        assert_eq!(refused("http://lists.example/x"), Fault::PlainRedirect);
        assert_eq!(refused("file:///etc/passwd"), Fault::PlainRedirect);
        assert_eq!(refused("https://me:secret@lists.example/x"), Fault::BadRedirect);
        assert_eq!(refused("https://"), Fault::BadRedirect);
        assert_eq!(Target::parse("http://lists.example/x").err(), Some(Fault::Url));
        assert_eq!(Target::parse("lists.example/x").err(), Some(Fault::Url));
    }
}

//! From what there is to what is to be done; nothing is touched here.

use std::net::IpAddr;

use super::host::{Host, RESOLV_CONF, Thing};

/// The files that are ours alone.
pub(super) const RESOLVED_DROP_IN: &str = "/etc/systemd/resolved.conf.d/culvert.conf";
pub(super) const NETWORK_MANAGER_DROP_IN: &str = "/etc/NetworkManager/conf.d/90-culvert.conf";
pub(super) const DHCLIENT_HOOK: &str = "/etc/dhcp/dhclient-enter-hooks.d/culvert";

const HEAD: &str = "# written by culvert resolver set; culvert resolver unset takes it back\n";

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Files with what is to stand in them.
    pub(super) files: Vec<(&'static str, String)>,
    /// What makes services read them.
    pub(super) commands: Vec<Vec<&'static str>>,
    /// What else the operator should know.
    pub(super) notes: Vec<String>,
}

impl Plan {
    /// The plan for people.
    pub(super) fn in_words(&self) -> String {
        let mut text = String::new();
        for (path, content) in &self.files {
            text.push_str(&format!("write {path}:\n"));
            content.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
        }
        self.commands.iter().for_each(|words| text.push_str(&format!("run {}\n", words.join(" "))));
        self.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
        text
    }
}

/// How this host is made to ask `address`.
///
/// # Errors
/// In words, if another program writes the file and has to be told by the operator.
pub(super) fn plan(host: &Host, address: IpAddr) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let link = match &host.resolv_conf {
        Thing::Link(to) => to.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let to_resolved = link.contains("systemd/resolve/");
    if host.resolved || to_resolved {
        plan.files.push((RESOLVED_DROP_IN, resolved(address)));
        plan.commands.push(vec!["systemctl", "reload-or-restart", "systemd-resolved.service"]);
    }
    if host.netplan {
        plan.notes.push(format!(
            "netplan gives links servers of their own; to have none of them, write \
             nameservers: {{addresses: [\"{address}\"]}} there"
        ));
    }
    if to_resolved {
        return Ok(plan);
    }
    let written_by_manager = link.contains("NetworkManager/");
    if !link.is_empty() && !written_by_manager {
        return Err(foreign(&link, address));
    }
    if host.openresolv {
        return Err(format!(
            "openresolv writes {RESOLV_CONF}: write name_servers={address} into \
             /etc/resolvconf.conf and run resolvconf -u"
        ));
    }
    if host.network_manager || written_by_manager {
        plan.files.push((NETWORK_MANAGER_DROP_IN, format!("{HEAD}[main]\ndns=none\n")));
        plan.commands.push(vec!["systemctl", "reload", "NetworkManager.service"]);
    } else if host.dhclient {
        plan.files.push((DHCLIENT_HOOK, format!("{HEAD}make_resolv_conf() {{ :; }}\n")));
    }
    if host.dhcpcd {
        let note = "dhcpcd may write /etc/resolv.conf anew; \"nohook resolv.conf\" in \
                    /etc/dhcpcd.conf keeps it from that";
        plan.notes.push(note.to_owned());
    }
    // last: nobody writes it any more by then
    plan.files.push((RESOLV_CONF, resolv_conf(&host.resolv_conf, address)));
    Ok(plan)
}

/// Asked for every name, and nobody else is; TLS is for servers elsewhere.
fn resolved(address: IpAddr) -> String {
    format!("{HEAD}[Resolve]\nDNS=\nDNS={address}\nDomains=~.\nDNSOverTLS=no\n")
}

/// The file with its other lines kept, so that short names are found as before.
fn resolv_conf(before: &Thing, address: IpAddr) -> String {
    let mut text = format!("{HEAD}nameserver {address}\n");
    if let Thing::File { text: old, .. } = before {
        let kept = ["search", "domain", "options", "sortlist"];
        let words = |line: &&str| line.split_whitespace().next().is_some_and(|w| kept.contains(&w));
        old.lines().filter(words).for_each(|line| text.push_str(&format!("{line}\n")));
    }
    text
}

fn foreign(link: &str, address: IpAddr) -> String {
    let cure = if link.contains("resolvconf/") {
        format!(
            "resolvconf writes it: put \"nameserver {address}\" into \
             /etc/resolvconf/resolv.conf.d/head and run resolvconf -u"
        )
    } else {
        format!("tell the program that writes it to name {address}, or make it a plain file")
    };
    format!("{RESOLV_CONF} is a link to {link}; {cure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn host(resolv_conf: Thing) -> Host {
        Host {
            resolv_conf,
            resolved: false,
            network_manager: false,
            dhclient: false,
            dhcpcd: false,
            openresolv: false,
            netplan: false,
        }
    }

    fn file(text: &str) -> Thing {
        Thing::File { text: text.to_owned(), mode: 0o644, uid: 0, gid: 0 }
    }

    fn paths(host: &Host) -> Vec<&'static str> {
        plan(host, RELAY).unwrap().files.iter().map(|(path, _)| *path).collect()
    }

    #[test]
    fn each_kind_of_host_has_its_files() {
        let stub = host(Thing::Link("../run/systemd/resolve/stub-resolv.conf".into()));
        assert_eq!(paths(&stub), [RESOLVED_DROP_IN]);
        // its own file beside a running systemd-resolved: programs read the one or ask the other
        let both = Host { resolved: true, ..host(file("nameserver 192.0.2.1\n")) };
        assert_eq!(paths(&both), [RESOLVED_DROP_IN, RESOLV_CONF]);
        let manager = Host { network_manager: true, ..host(file("")) };
        assert_eq!(paths(&manager), [NETWORK_MANAGER_DROP_IN, RESOLV_CONF]);
        let linked = host(Thing::Link("/run/NetworkManager/resolv.conf".into()));
        assert_eq!(paths(&linked), [NETWORK_MANAGER_DROP_IN, RESOLV_CONF]);
        let dhclient = Host { dhclient: true, ..host(file("")) };
        assert_eq!(paths(&dhclient), [DHCLIENT_HOOK, RESOLV_CONF]);
        assert_eq!(paths(&host(Thing::Absent)), [RESOLV_CONF]);
    }

    #[test]
    fn what_others_write_is_left_to_the_operator() {
        let refused = |host: &Host| plan(host, RELAY).unwrap_err();
        let old = host(Thing::Link("/run/resolvconf/resolv.conf".into()));
        assert!(refused(&old).contains("resolv.conf.d/head"));
        assert!(refused(&host(Thing::Link("/mnt/x".into()))).contains("link to /mnt/x"));
        let open = Host { openresolv: true, ..host(file("")) };
        assert!(refused(&open).contains("name_servers=127.0.0.1"));
    }

    #[test]
    fn other_lines_of_the_file_are_kept() {
        let old = "# c\nnameserver 192.0.2.1\nsearch a.test b.test\noptions edns0\n";
        let text = resolv_conf(&file(old), "::1".parse().unwrap());
        assert_eq!(text, format!("{HEAD}nameserver ::1\nsearch a.test b.test\noptions edns0\n"));
    }
}

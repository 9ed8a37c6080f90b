//! `culvert resolver`: this machine's own resolver, here below a folder that stands for its root.

use crate::harness::process::run;
use crate::harness::relay::PROGRAM;
use crate::harness::secs;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const RESOLVED: &str = "etc/systemd/resolved.conf.d/culvert.conf";
const MANAGER: &str = "etc/NetworkManager/conf.d/90-culvert.conf";
const HOOK: &str = "etc/dhcp/dhclient-enter-hooks.d/culvert";
const RESOLV: &str = "etc/resolv.conf";
const RECORD: &str = "var/lib/culvert/resolver.json";

/// A host without services; folders are made as they are named.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Host {
        let host = Host(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(host.path("etc")).expect("a folder");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn with(self, path: &str, text: &str) -> Host {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Success, and what was said.
    fn tell(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(PROGRAM);
        command.arg("resolver").args(args).arg("--root").arg(self.0.path());
        let output = run(&mut command, secs(20));
        let both = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&both).into_owned())
    }

    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let (done, said) = self.tell(args);
        assert!(done, "{args:?}: {said}");
        said
    }

    /// All files below the root with what is in them.
    fn everything(&self) -> Vec<(PathBuf, String)> {
        fn walk(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
                let text = match kind {
                    kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path)),
                    kind if kind.is_dir() => "/".to_owned(),
                    _ => fs::read_to_string(&path).expect("text"),
                };
                into.push((path.clone(), text));
                if kind.is_dir() {
                    walk(&path, into);
                }
            }
        }
        let mut all = Vec::new();
        walk(self.0.path(), &mut all);
        all.sort();
        all
    }
}

#[test]
fn a_plain_file_is_replaced_and_comes_back_as_it_was() {
    let old = "# mine\nnameserver 192.0.2.1\nsearch corp.test\noptions edns0\n";
    let host = Host::new().with(RESOLV, old).with("var/lib/culvert/x", "");
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(host.path(RESOLV), mode).expect("permissions");
    let before = host.everything();
    let said = host.done(&["set", "--dry-run"]);
    assert!(
        said.contains("write /etc/resolv.conf:\n") && said.contains("    nameserver 127.0.0.1")
    );
    assert_eq!(host.everything(), before, "a dry run changes nothing");

    host.done(&["set"]);
    let now = host.read(RESOLV);
    assert!(now.ends_with("\nnameserver 127.0.0.1\nsearch corp.test\noptions edns0\n"), "{now}");
    assert!(host.done(&["set"]).contains("already"));
    assert!(host.done(&["status"]).contains("/etc/resolv.conf as set"));
    // another address: what comes back at the end is the very first file
    host.done(&["set", "--address", "::1"]);
    assert!(host.read(RESOLV).contains("nameserver ::1\n"));
    assert!(host.done(&["unset", "--dry-run"]).contains("put back /etc/resolv.conf"));
    host.done(&["unset"]);
    assert_eq!(host.everything(), before);
    let mode = fs::metadata(host.path(RESOLV)).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(host.done(&["unset"]).contains("nothing to put back"));
}

#[test]
fn systemd_resolved_gets_a_drop_in_and_keeps_its_link() {
    let host = Host::new().with("var/lib/culvert/x", "").with("etc/systemd/x", "");
    let link = "../run/systemd/resolve/stub-resolv.conf";
    symlink(link, host.path(RESOLV)).expect("a link");
    let before = host.everything();
    let said = host.done(&["set", "--dry-run"]);
    assert!(said.contains("run systemctl reload-or-restart systemd-resolved.service"), "{said}");
    host.done(&["set"]);
    assert!(host.read(RESOLVED).contains("\nDNS=127.0.0.1\nDomains=~.\n"));
    assert_eq!(fs::read_link(host.path(RESOLV)).expect("still a link"), Path::new(link));
    host.done(&["unset"]);
    assert_eq!(host.everything(), before, "the folder of the drop-in goes, too");
}

#[test]
fn network_manager_and_dhclient_are_kept_from_the_file() {
    let host = Host::new().with("var/lib/culvert/x", "").with("etc/NetworkManager/x", "");
    fs::create_dir_all(host.path("run/NetworkManager")).expect("a folder");
    symlink("/run/NetworkManager/resolv.conf", host.path(RESOLV)).expect("a link");
    let before = host.everything();
    host.done(&["set"]);
    assert!(host.read(MANAGER).contains("[main]\ndns=none\n"));
    assert!(host.read(RESOLV).contains("nameserver 127.0.0.1\n"));
    host.done(&["unset"]);
    assert_eq!(host.everything(), before);

    let host = Host::new().with("var/lib/culvert/x", "").with(RESOLV, "nameserver 192.0.2.1\n");
    fs::create_dir_all(host.path("etc/dhcp/dhclient-enter-hooks.d")).expect("a folder");
    let before = host.everything();
    host.done(&["set"]);
    assert!(host.read(HOOK).contains("make_resolv_conf() { :; }\n"));
    host.done(&["unset"]);
    assert_eq!(host.everything(), before);
}

#[test]
fn what_others_changed_since_is_left_alone_and_told() {
    let host = Host::new().with(RESOLV, "nameserver 192.0.2.1\n");
    host.done(&["set"]);
    let host = host.with(RESOLV, "nameserver 192.0.2.99\n");
    let (whole, said) = host.tell(&["status"]);
    assert!(!whole && said.contains("/etc/resolv.conf changed since"), "{said}");
    let said = host.done(&["unset"]);
    assert!(said.contains("was changed by somebody else since and is left alone"), "{said}");
    assert_eq!(host.read(RESOLV), "nameserver 192.0.2.99\n");
    assert!(!host.path(RECORD).exists());
}

#[test]
fn what_other_programs_write_is_refused_with_a_hint() {
    let host = Host::new();
    symlink("/run/resolvconf/resolv.conf", host.path(RESOLV)).expect("a link");
    let before = host.everything();
    let (done, said) = host.tell(&["set"]);
    assert!(!done && said.contains("/etc/resolvconf/resolv.conf.d/head"), "{said}");
    assert_eq!(host.everything(), before);
}

#[test]
fn a_record_that_names_other_files_is_not_followed() {
    let host = Host::new().with(RESOLV, "").with("etc/shadow", "secret");
    host.done(&["set"]);
    let good = host.read(RECORD);
    for forged in [
        good.replace("/etc/resolv.conf", "/etc/shadow"),
        good.replace("/etc/resolv.conf", "/etc/dhcp/dhclient-enter-hooks.d/culvert"),
        good[..good.len() / 2].to_owned(),
    ] {
        fs::write(host.path(RECORD), forged).expect("written");
        for command in ["unset", "set", "status"] {
            let (done, said) = host.tell(&[command]);
            assert!(!done && said.contains("this record is damaged"), "{said}");
        }
    }
    assert_eq!(host.read("etc/shadow"), "secret");
}

#[test]
fn nothing_is_set_to_a_relay_that_does_not_answer() {
    let mut command = Command::new(PROGRAM);
    // without --root, but a dry run: this machine is looked at and not changed
    command.args(["resolver", "set", "--dry-run", "--address", "127.254.253.252"]);
    let output = run(&mut command, secs(20));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = "nothing answers on 127.254.253.252 port 53";
    assert!(!output.status.success() && said.contains(why), "{said}");
}

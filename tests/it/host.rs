//! The relay and the rest of its host: who holds its port, and who may command it.

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::process::{LOCAL, bound, free_port, run};
use crate::harness::relay::PROGRAM;
use crate::harness::secs;
use crate::harness::stage::Stage;
use crate::harness::tls::Tls;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// What a relay says that has to listen on `address` and cannot.
fn refusal(address: SocketAddr, listen: &[String]) -> String {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]);
    let conf = Conf { address, listen: listen.to_vec(), ..conf };
    conf.save();
    let mut command = Command::new(PROGRAM);
    let output = run(command.args(["run", "--config"]).arg(conf.file()), secs(20));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

#[test]
fn who_holds_the_port_is_named_for_udp_and_tcp() {
    let pid = format!("pid {}", std::process::id());
    let holders: [fn(SocketAddr) -> Box<dyn std::any::Any>; 2] = [
        |at| Box::new(bound(|| UdpSocket::bind(at))),
        |at| Box::new(bound(|| TcpListener::bind(at))),
    ];
    for (hold, protocol) in holders.iter().zip(["UDP", "TCP"]) {
        let address = free_port(LOCAL);
        let _holder = hold(address);
        let said = refusal(address, &[address.to_string()]);
        let front = format!("cannot listen on {address}: {protocol}: another program holds it: ");
        let cure = "or name other addresses in server.listen";
        assert!(said.contains(&front) && said.contains(&pid) && said.contains(cure), "{said}");
    }
}

#[test]
fn a_holder_of_the_wildcard_is_named_too() {
    let address = free_port(LOCAL);
    let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
    let _holder = bound(|| UdpSocket::bind(everywhere));
    let said = refusal(address, &[address.to_string()]);
    let place = format!("another program holds it, by {everywhere}: ");
    assert!(said.contains(&place), "{said}");
}

#[test]
fn another_relay_is_recognised() {
    let stage = Stage::new();
    let address = stage.relay.address;
    let said = refusal(address, &[address.to_string()]);
    let pid = format!("pid {}", stage.relay.process.id());
    assert!(said.contains("another culvert holds it: ") && said.contains(&pid), "{said}");
}

#[test]
fn held_addresses_of_the_interfaces_are_skipped_with_a_warning() {
    let address = free_port(LOCAL);
    let _holder = bound(|| UdpSocket::bind(address));
    let said = refusal(address, &[format!("interfaces:{}", address.port()), address.to_string()]);
    assert!(said.contains("cannot listen on"), "named by itself, it is not skipped: {said}");
    let elsewhere = free_port(LOCAL);
    let stage = Stage::with(|conf| Conf {
        address: elsewhere,
        listen: vec![format!("interfaces:{}", address.port()), elsewhere.to_string()],
        ..conf
    });
    let text = format!("not listening on {address}: UDP: another program holds it: ");
    let said = stage.relay.stderr_with(&text);
    let line = said.lines().find(|line| line.contains(&text)).expect("just seen");
    assert!(line.contains("WARN"), "{line}");
}

/// A group that this process may give a file to, and its number: root any, others their own.
fn some_group() -> (String, u32) {
    let ours = std::fs::metadata("/proc/self").expect("proc is there");
    let groups = std::fs::read_to_string("/etc/group").expect("the groups of this host");
    let mut groups = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse::<u32>().ok()?))
    });
    let fits = |id: u32| if ours.uid() == 0 { id != 0 } else { id == ours.gid() };
    groups.find(|(_, id)| fits(*id)).expect("a group of ours")
}

#[test]
fn the_control_socket_belongs_to_its_group() {
    let (name, id) = some_group();
    let stage = Stage::with(|conf| conf.server(&format!("control_group = \"{name}\"")));
    let socket = stage.relay.conf.folder().join("control.sock");
    let meta = std::fs::metadata(&socket).expect("the control socket");
    assert_eq!((meta.gid(), meta.mode() & 0o777), (id, 0o660));
    assert!(stage.relay.status().is_object());
}

#[test]
fn a_group_that_is_not_there_is_a_fault_only_if_it_was_named() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let check = |line: &str| {
        let conf = Conf::before(&tls, &[&backend]).server(line);
        conf.save();
        let mut command = Command::new(PROGRAM);
        let output = run(command.args(["check", "--config"]).arg(conf.file()), secs(20));
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (good, said) = check("control_group = \"no-such-group\"");
    assert!(!good && said.contains("no group no-such-group; make it with groupadd"), "{said}");
    assert_eq!(check("control_group = \"\""), (true, String::new()));
}

#[test]
fn who_may_not_command_is_told_the_group() {
    if std::fs::metadata("/proc/self").expect("proc is there").uid() != 0 {
        // only root can be somebody else
        return;
    }
    let (name, _) = some_group();
    let stage = Stage::with(|conf| conf.server(&format!("control_group = \"{name}\"")));
    let folder = stage.relay.conf.folder();
    // the way to the socket is open, the socket is not
    let open = Command::new("chmod").args(["-R", "o+rX"]).arg(folder).status();
    assert!(open.expect("chmod runs").success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", PROGRAM]);
    command.args(["status", "--control"]).arg(folder.join("control.sock"));
    let output = run(&mut command, secs(20));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let cure = format!("you are not in the group {name}: sudo usermod -aG {name} $USER");
    assert!(!output.status.success() && said.contains(&cure), "{said}");
}

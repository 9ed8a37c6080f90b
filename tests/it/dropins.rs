//! A configuration in several files, from the outside: what is served, what is told, and the
//! file that the package installs.

use crate::harness::backend::{Backend, PATH};
use crate::harness::client::{Over, ask};
use crate::harness::conf::Conf;
use crate::harness::process::{LOCAL, Process, free_port, run};
use crate::harness::relay::PROGRAM;
use crate::harness::secs;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::{HOST, Tls};
use crate::harness::wire::{A, Query};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Writes a drop-in beside the configuration.
fn drop_in(conf: &Conf, name: &str, text: &str) -> PathBuf {
    let folder = conf.folder().join("culvert.d");
    fs::create_dir_all(&folder).expect("the folder of drop-ins");
    let file = folder.join(name);
    fs::write(&file, text).expect("a drop-in is written");
    file
}

/// Runs a sub-command on a configuration: exit code and what it printed, errors behind.
#[track_caller]
fn culvert(conf: &Conf, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(PROGRAM);
    command.args(args).arg("--config").arg(conf.file());
    let Output { status, stdout, stderr } = run(&mut command, secs(20));
    let [out, err] = [stdout, stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    (status.code().expect("it ends by itself"), out + &err)
}

#[test]
fn a_drop_in_changes_what_is_served_and_a_broken_one_changes_nothing() {
    let stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
    assert_eq!(stage.relay.ask("bad.example.com", A).rcode(), "NXDOMAIN");
    let other = stage.relay.conf.zone_file("block.local").with_file_name("other.rpz");
    let rules = "$TTL 300\n$ORIGIN block.local.\n@ SOA a. b. 1 1h 1h 1h 1h\n@ NS a.\n\
                 worse.example.com CNAME .\n";
    fs::write(&other, rules).expect("a zone is written");
    let text = "[[policy]]\nzone = \"block.local\"\nfile = \"other.rpz\"\n";
    let file = drop_in(&stage.relay.conf, "20-zone.toml", text);
    stage.relay.reload();
    assert_right(&stage.relay.ask("bad.example.com", A), "bad.example.com");
    assert_eq!(stage.relay.ask("worse.example.com", A).rcode(), "NXDOMAIN");

    fs::write(&file, "[[policy]]\nzone = \"block.local\"\nfle = \"other.rpz\"\n").expect("written");
    let output = stage.relay.command(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(&format!("{}:3:1: policy[].fle: unknown key", file.display())), "{said}");
    assert_eq!(stage.relay.ask("worse.example.com", A).rcode(), "NXDOMAIN");

    fs::remove_file(&file).expect("the drop-in is removed");
    stage.relay.reload();
    assert_eq!(stage.relay.ask("bad.example.com", A).rcode(), "NXDOMAIN");
}

#[test]
fn a_broken_configuration_does_not_cut_the_running_relay_off() {
    let stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
    let conf = &stage.relay.conf;
    drop_in(conf, "20-fault.toml", "lisen = 1\n");
    let (code, out) = culvert(conf, &["reload"]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.ends_with(
            "20-fault.toml:1:1: lisen: unknown key; did you mean \"server.listen\"?\n\
                           1 fault\n"
        ),
        "{out}"
    );
    let (code, out) = culvert(conf, &["status"]);
    assert!(code == 0 && out.contains("\nTHE LAST RELOAD CHANGED NOTHING:\n"), "{out}");
    let (code, out) = culvert(conf, &["allow", "bad.example.com", "--reason", "it is urgent"]);
    assert_eq!(code, 0, "{out}");
    assert_right(&stage.relay.ask("bad.example.com", A), "bad.example.com");
    let (code, out) = culvert(conf, &["exceptions", "list"]);
    assert!(code == 0 && out.contains("it is urgent"), "{out}");
    assert_eq!(culvert(conf, &["exceptions"]).1, out);
}

#[test]
fn check_and_config_show_tell_the_files() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]);
    conf.save();
    assert!(!culvert(&conf, &["check"]).1.contains("with "));
    let file = drop_in(&conf, "10-a.toml", "[server]\nworkers = 1\n");
    let (code, out) = culvert(&conf, &["check"]);
    let expected = format!(
        "{}: good; 1 upstream, 0 policy zones\n  with {}\n",
        conf.file().display(),
        file.display()
    );
    assert_eq!((code, out), (0, expected));
    let json: serde_json::Value =
        serde_json::from_str(&culvert(&conf, &["check", "--json"]).1).expect("JSON");
    assert_eq!(json["files"], serde_json::json!([conf.file(), file]));

    let (code, out) = culvert(&conf, &["config", "show"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("\nworkers = 1  # culvert.d/10-a.toml:2\n"), "{out}");
    assert!(out.contains("\nname = \"relay-under-test\"  # culvert.toml:4\n"), "{out}");
    assert!(!out.contains(PATH) && out.contains("/...\"  # culvert.toml:"), "{out}");
    assert!(!out.contains("# default"), "{out}");
    assert!(culvert(&conf, &["config", "show", "--all"]).1.contains("tcp_idle = \"10s\"  # def"));
    let (code, out) = culvert(&conf, &["config", "show", "--all", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(code == 0 && !out.contains(PATH), "{out}");
    let lines = json["settings"].as_array().expect("a list");
    let workers = lines.iter().find(|line| line["key"] == "workers").expect("it is listed");
    assert_eq!((&workers["value"], &workers["line"]), (&1.into(), &2.into()));

    fs::write(&file, "[server]\nworkrs = 1\n").expect("written");
    for args in [&["check"][..], &["check", "--quick"], &["config", "show"]] {
        let (code, out) = culvert(&conf, args);
        assert_eq!(code, 78, "{out}");
        assert!(out.contains("10-a.toml:2:1: server.workrs: unknown key"), "{out}");
    }
}

#[test]
fn a_quick_check_opens_zones_and_does_not_read_them() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).policy("block.local", "x TXT ( \"never closed\"");
    conf.save();
    assert_eq!(culvert(&conf, &["check"]).0, 78);
    let expected =
        format!("{}: good; 1 upstream, 1 policy zone (rules not read)\n", conf.file().display());
    assert_eq!(culvert(&conf, &["check", "--quick"]), (0, expected));
    fs::remove_file(conf.zone_file("block.local")).expect("the zone is removed");
    let (code, out) = culvert(&conf, &["check", "--quick"]);
    assert!(code == 78 && out.contains("policy[].file: ") && out.contains("does not"), "{out}");
}

#[test]
fn a_user_who_may_not_read_the_configuration_is_sent_to_the_usual_socket() {
    let conf = Conf::new().plain("service", &[free_port(LOCAL)]);
    conf.save();
    let missing = conf.folder().join("missing.toml");
    // root may read everything, so it asks as somebody else
    let root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let status = |config: &Path| {
        let mut command = Command::new(if root { "setpriv" } else { PROGRAM });
        if root {
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            command.args(["--no-new-privs", "--", PROGRAM]);
        }
        command.args(["status", "--config"]).arg(config);
        String::from_utf8_lossy(&run(&mut command, secs(20)).stderr).into_owned()
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
    };
    mode(conf.folder(), 0o755);
    let own = conf.folder().join("control.sock").display().to_string();
    let said = status(&conf.file());
    assert!(said.contains(&own) && !said.contains("/run/culvert"), "{said}");
    mode(&conf.file(), 0);
    let said = status(&conf.file());
    assert!(said.contains("/run/culvert/control.sock") && !said.contains(&own), "{said}");
    let said = status(&missing);
    assert!(said.contains("does not exist") && !said.contains("/run/culvert"), "{said}");
}

#[test]
fn the_installed_configuration_serves_and_blocks_its_test_name() {
    let at_root = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::new();
    let installed = fs::read_to_string(at_root("etc/culvert.toml")).expect("it is there");
    let zone = at_root("etc/rpz/test.rpz");
    let here = installed.replace("/usr/share/culvert/rpz/test.rpz", &zone.display().to_string());
    assert_ne!(here, installed);
    fs::write(conf.file(), here).expect("the configuration is written");
    let folder = conf.folder().display();
    let site = format!(
        "[server]\nlisten = [\"{}\"]\nstate = \"{folder}\"\ncontrol = \"{folder}/c.sock\"\n\
         [status]\nlisten = \"off\"\n[[upstream]]\nname = \"service\"\n\
         url = \"https://{HOST}:{}{PATH}\"\naddresses = [\"127.0.0.1\"]\nca = \"{}\"\n",
        conf.address,
        backend.address.port(),
        tls.ca().display()
    );
    drop_in(&conf, "10-site.toml", &site);
    let (code, out) = culvert(&conf, &["check"]);
    assert!(code == 0 && out.contains("good; 1 upstream, 1 policy zone\n"), "{out}");

    let mut relay = Process::start("culvert", Path::new(PROGRAM), conf.folder(), |command| {
        command.args(["run", "--config"]).arg(conf.file());
    });
    relay.until_connects(conf.address);
    let ask = |name: &str| ask(Over::Udp, conf.address, &Query::new(name, A));
    assert_right(&ask("www.example.com"), "www.example.com");
    for name in ["blocked.culvert.test", "below.blocked.culvert.test"] {
        let reply = ask(name);
        assert_eq!((reply.rcode(), reply.extended_errors()), ("NXDOMAIN", vec![15]), "{name}");
    }
    assert_eq!(backend.asked("blocked.culvert.test"), 0);
}

//! Files that do not load, and what the operator is told.

use std::path::Path;

use super::{SMALLEST, faults, faults_with};
use crate::config::{MAX_FILE, load, parse};

/// Asserts that the smallest file with `lines` has one fault, and that its text ends so.
#[track_caller]
fn one(lines: &str, expected: &str) {
    let text = faults_with(lines);
    let (first, count) = text.split_once('\n').unwrap();
    assert_eq!(count, "1 fault", "{text}");
    assert!(first.contains(expected), "{first}");
}

#[test]
fn many_faults_in_one_go() {
    let found = faults(include_str!("golden/faults.toml"));
    assert_eq!(found, include_str!("golden/faults.txt").trim_end());
}

#[test]
fn a_section_of_a_later_version_is_answered_once() {
    let text = faults_with("[[exception]]\nwhatever = 1\n");
    let expected = "culvert.toml:4:1: exception[]: not yet in this version: write a passthru rule";
    assert!(text.starts_with(expected) && text.ends_with("\n1 fault"), "{text}");
}

#[test]
fn nearest_keys() {
    one("[servr]\nlisten = []", "servr: unknown key; did you mean \"server\"?");
    one("[cache]\nsiz = \"1 MiB\"", "cache.siz: unknown key; did you mean \"size\"?");
    one("[server]\nsize = 1", "server.size: unknown key; did you mean \"cache.size\"?");
    one("[server]\nhosts = 1", "did you mean \"local.hosts\"?");
    one("[canary]\nxyz = 1", "canary.xyz: unknown key; known here: resolves, blocked");
    one("address = []", "upstream[].address: unknown key; did you mean \"addresses\"?");
    one("[[route]]\nzone = []\nzones = [\"a\"]\nupstream = \"upstream-1\"", "\"zones\"?");
    one("\"https://x/secret\" = 1", "upstream[].https:…: unknown key");
}

#[test]
fn shapes() {
    one("[[server]]", "server: there is only one of these; write [server]");
    assert!(faults("cache = 5\n").contains("cache: this is a section, not an integer; write"));
    assert!(faults("cache = 5\n[cache.x]\n").contains("cannot extend"));
    one("cache = 5", "upstream[].cache: unknown key; did you mean \"cache\"?");
    assert!(faults("upstream = 5").contains("upstream[]: this is a section, not an integer"));
    assert!(faults("[upstream]\nname = \"x\"").contains("write [[upstream]]"));
    assert!(faults("upstream = [1]").contains("a table is needed, not an integer"));
    one("[log]\nqueries = \"true\"", "true or false is needed, not a string; take the");
    one("[log]\nqueries = 1", "true or false is needed, not an integer");
    one("[log]\nhits = 1", "a string is needed, not an integer");
    one("[server]\nworkers = -1", "-1 is out of range; 0 to 256 is allowed");
    one("[server]\nworkers = 1.5", "an integer is needed, not a fraction");
    one("[server]\nworkers = 99999999999999999999999", "out of range");
    one("[server]\nudp_payload = 511", "511 is out of range; 512 to 4096");
    one("[server]\ntcp_idle = \"0s\"", "out of range; 1s to 1h");
    one("[server]\ntcp_idle = \"10\"", "10 has no unit");
    one("[cache]\nsize = 64", "64 has no unit; write for example \"64 MiB\"");
    one("[cache]\nmax_ttl = \"1500ms\"", "not a number of whole seconds");
    one("[cache]\nmin_ttl = \"1h\"\nmax_ttl = \"1m\"", "is longer than cache.max_ttl");
    one("[server]\nname = \"\"", "1 to 64 letters");
    one("[log]\nhits = \"jurnal\"", "did you mean \"journal\"?");
    one("[canary]\nblocked = [\"a..b\"]", "the name has an empty label");
}

#[test]
fn listeners_and_access() {
    one("[server]\nlisten = []", "the list is empty");
    one("[server]\nlisten = \"0.0.0.0:53\"", "a list of strings is needed, not a string; put it");
    one("[server]\nlisten = [\"[fe80::1%eth0]:53\"]", "the interface's number");
    one("[server]\nlisten = [\"192.0.2.1:53\", \"192.0.2.1:53\"]", "in the list already");
    one("[server]\nallow = [\"any\"]", "set server.allow_any = true");
    one("[server]\nallow = [\"::/0\"]", "set server.allow_any = true");
    one("[server]\nallow = [\"any\"]\nallow_any = 1", "true or false is needed");
    one("[server]\nallow = [1]", "a string is needed, not an integer");
    let long = "c".repeat(110);
    one(&format!("[server]\ncontrol = \"/{long}\""), "at most 107 octets");
    one("[server]\nlisten = [\"0.0.0.0:8053\"]", "status.listen: server.listen has this address");
}

#[test]
fn upstreams() {
    let upstream = |lines: &str| faults(&format!("[[upstream]]\n{lines}"));
    assert!(faults("version = 1").starts_with("culvert.toml: upstream[]: no [[upstream]] is"));
    assert!(upstream("").starts_with("culvert.toml:1:1: upstream[].url: is missing"));
    let url = "url = \"https://h.example/secret\"\n";
    assert!(upstream(url).contains("upstream[].addresses: is missing"));
    assert!(upstream(&format!("{url}servers = [\"192.0.2.1\"]")).contains("either `url` or"));
    assert!(upstream("servers = [\"192.0.2.1\"]\npaths = [\"/secret\"]").contains("goes with"));
    assert!(upstream("servers = []").contains("the list is empty"));
    let twice =
        upstream(&format!("{url}addresses = [\"192.0.2.1\"]\nstandby = [\"192.0.2.1:443\"]"));
    assert!(twice.contains("4:12: upstream[].standby: this upstream has the address already"));
    let addresses = "addresses = [\"192.0.2.1\"]\n";
    let bad = |url: &str| upstream(&format!("url = \"{url}\"\n{addresses}"));
    assert!(bad("http://h.example/secret").contains("write https://"));
    assert!(bad("https://h.example").contains("needs a path"));
    one("ca = \"/nowhere/ca.pem\"", "upstream[].ca: \"/nowhere/ca.pem\" does not exist");
    one("ca = \"https://x/secret\"", "upstream[].ca: \"https:…\" is a URL; a path is needed");
    one("paths = [\"secret\"]", "upstream[].paths: a path begins with \"/\"");
    one("[[upstream]]\nname = \"upstream-1\"\nservers = [\"192.0.2.1\"]", "taken already, on line");
    one("[[route]]\nzones = [\"a\"]", ":4:1: route[].upstream: is missing");
    one("[[route]]\nupstream = \"upstream-1\"", ":4:1: route[].zones: is missing");
    let twice = "[[route]]\nzones = [\"a\"]\nupstream = \"upstream-1\"\n".repeat(2);
    one(&twice, ":8:10: route[].zones: the zone has a route already, on line 5");
}

#[test]
fn our_own_listener_is_no_upstream() {
    let looped = |listen: &str, server: &str| {
        let text =
            format!("[server]\nlisten = [\"{listen}\"]\n[[upstream]]\nservers = [\"{server}\"]");
        match parse(&text, Path::new("culvert.toml")) {
            Ok(_) => false,
            Err(faults) => {
                assert!(
                    faults.to_string().contains("4:12: upstream[].servers: this is one of our")
                );
                true
            }
        }
    };
    assert!(looped("192.0.2.1:53", "192.0.2.1"));
    assert!(looped("0.0.0.0:53", "127.0.0.1"));
    assert!(looped("[::]:5300", "[::1]:5300"));
    assert!(looped("interfaces:53", "127.0.0.1:53"));
    assert!(looped("127.0.0.2:53", "127.0.0.2:53"));
    assert!(!looped("192.0.2.1:53", "192.0.2.1:54"));
    assert!(!looped("interfaces:53", "127.0.0.1:5353"));
    // a listener that cannot be read makes no loops out of its default
    let text = "[server]\nlisten = 5\n[[upstream]]\nservers = [\"127.0.0.1\"]";
    assert!(faults(text).ends_with("\n1 fault"));
}

#[test]
fn policies_and_hosts() {
    one("[[policy]]\nzone = \"a.example\"\nfile = \"nowhere.rpz\"", "nowhere.rpz\" does not exist");
    one("[[policy]]\nzone = \"a.example\"\nfile = \"/\"", "\"/\" is a folder");
    one("[[policy]]\nzone = \"a.example\"", ":4:1: policy[].file: is missing");
    one("[local.hosts]\nprinter.example = \"10.0.0.1\"", "write the whole name in quotation");
    one("[local.hosts]\n\"*.example\" = \"10.0.0.1\"", "an entry is one host's name");
    one("[local.hosts]\na = \"10.0.0.1\"\nA = \"10.0.0.1\"", "this name is given already");
    one("[local.hosts]\na = []", "the list is empty");
    let many = "\"10.0.0.1\",".repeat(65);
    one(&format!("[local.hosts]\na = [{many}]"), "there are more than 64 addresses");
    one("[local.hosts]\na = [\"10.0.0.256\"]", "local.hosts.a: \"10.0.0.256\" is not an IP");
    one("[local.hosts]\na = 1", "an address as a string is needed, not an integer");
}

#[test]
fn policy_numbers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("z"), "").unwrap();
    let file = folder.path().join("culvert.toml");
    let with = |lines: &str| match parse(&format!("{SMALLEST}{lines}"), &file) {
        Ok(_) => String::new(),
        Err(faults) => faults.to_string(),
    };
    let policy = |n: usize| format!("[[policy]]\nzone = \"z{n}.example\"\nfile = \"z\"\n");
    assert_eq!(with(&(0..64).map(policy).collect::<String>()), "");
    let many = with(&(0..65).map(policy).collect::<String>());
    assert!(many.contains("more than 64 policy zones") && many.ends_with("\n1 fault"), "{many}");
    let twice = with(&format!("{}{}", policy(1), policy(1)));
    assert!(twice.contains(":8:8: policy[].zone: the zone is given already, on line 5"), "{twice}");
    let bad = with(&format!("{}action = \"cname:a..b\"", policy(1)));
    assert!(bad.contains("\"a..b\" is not a domain name"), "{bad}");
    let bad = with(&format!("{}action = \"nxdomian\"", policy(1)));
    assert!(bad.contains("did you mean \"nxdomain\"?"), "{bad}");
    let bad = with(&format!("{}until_loaded = \"open\"", policy(1)));
    assert!(bad.contains("open-after-30s"), "{bad}");
}

#[test]
fn syntax_faults_and_unknown_keys() {
    let text =
        "[server]\nlisten = \nworkers = \"x\"\nalow = []\n[cache\nsize = 5\n[log]\nqeries = 1\n";
    let expected = "culvert.toml:2:10: string values must be quoted, expected literal string\n\
        culvert.toml:4:1: server.alow: unknown key; did you mean \"allow\"?\n\
        culvert.toml:5:7: unclosed table, expected `]`\n\
        culvert.toml:8:1: log.qeries: unknown key; did you mean \"queries\"?\n4 faults";
    assert_eq!(faults(text), expected);
    // no flood behind an unclosed list
    let text = faults("[server]\nlisten = [\"a\"\n[cache]\nsize = 1\n");
    assert!(text.lines().count() <= 4, "{text}");
    assert!(faults("[server]\n[server]\n").contains("2:2: duplicate key"));
}

#[test]
fn positions_count_characters() {
    let text = format!("{SMALLEST}# größe → €\n[server] # ä\nworkers =\t\"日本\" \n");
    let expected = "culvert.toml:6:11: server.workers: an integer is needed, not a string\n1 fault";
    assert_eq!(faults(&text), expected);
    assert_eq!(faults(&text.replace('\n', "\r\n")), expected);
    assert_eq!(faults(&format!("\u{feff}{text}")), expected);
    let behind = format!("{SMALLEST}[canary]\nblocked = [\"bücher.example\", \"a..b\"]\n");
    let text = faults(&behind);
    assert!(text.contains(":5:12: ") && text.contains(":5:30: "), "{text}");
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |path: &Path| {
        let text = load(path).unwrap_err().to_string();
        text.strip_prefix(&path.display().to_string()).unwrap().to_owned()
    };
    let missing = fault(&folder.path().join("missing.toml"));
    assert_eq!(missing, ": does not exist; create it or correct the path\n1 fault");
    assert_eq!(fault(folder.path()), ": is a folder; name a file in it\n1 fault");
    assert_eq!(fault(Path::new("/dev/null")), ": is not a regular file\n1 fault");
    let large = folder.path().join("large.toml");
    std::fs::write(&large, "# culvert\n".repeat(1 << 20)).unwrap();
    assert!(fault(&large).contains("is larger than 1 MiB"));
    std::fs::write(&large, "#".repeat(MAX_FILE as usize)).unwrap();
    assert!(fault(&large).contains("no [[upstream]] is given"));
    let latin = folder.path().join("latin.toml");
    std::fs::write(&latin, b"# a\n# gr\xfc\xdfe\n").unwrap();
    assert!(fault(&latin).starts_with(":2:5: this is not UTF-8 text"));
}

#[test]
fn faults_as_json() {
    let faults = super::load("[server]\nlistn = 1\n[[upstream]]\nservers = [\"192.0.2.1\"]");
    let json = serde_json::to_string(&faults.unwrap_err()).unwrap();
    let expected = concat!(
        r#"[{"file":"culvert.toml","line":2,"column":1,"key":"server.listn","#,
        r#""message":"unknown key; did you mean \"listen\"?"}]"#
    );
    assert_eq!(json, expected);
}

#[test]
fn no_fault_shows_a_url() {
    let url = "https://user:secret@h.example/secret/secret?secret";
    let plain = "h.example/secret/secret";
    for value in [url, plain, "/secret/x"] {
        for key in
            ["url", "name", "servers", "addresses", "paths", "ca", "standby", "max_in_flight"]
        {
            if key == "ca" && value != url {
                continue; // a path of a file may be shown
            }
            for text in [format!("{key} = \"{value}\""), format!("{key} = [\"{value}\"]")] {
                let text = format!("[[upstream]]\n{text}\n[[route]]\nupstream = \"{value}\"\n");
                let shown = faults(&text);
                assert!(!shown.contains("secret"), "{key}: {shown}");
            }
        }
    }
}

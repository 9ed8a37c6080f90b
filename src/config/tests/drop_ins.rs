//! Several files that are put together, and what is told about them.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::SMALLEST;
use crate::config::*;
use crate::limits;

/// A main file and drop-ins in a folder of their own.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(main: &str, drop_ins: &[(&str, &str)]) -> Files {
        let files = Files { folder: TempDir::new().unwrap() };
        fs::write(files.main(), main).unwrap();
        fs::create_dir(files.drop_in("")).unwrap();
        for (name, text) in drop_ins {
            fs::write(files.drop_in(name), text).unwrap();
        }
        files
    }

    fn main(&self) -> PathBuf {
        self.folder.path().join("culvert.toml")
    }

    fn drop_in(&self, name: &str) -> PathBuf {
        self.folder.path().join("culvert.d").join(name)
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        load(&self.main()).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The faults with paths from the folder on.
    #[track_caller]
    fn faults(&self) -> String {
        let faults = load(&self.main()).map(drop).expect_err("there are faults");
        faults.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn shown(&self, all: bool) -> String {
        let listing = show(&self.main(), all).unwrap_or_else(|faults| panic!("{faults}"));
        listing.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn plain(name: &str, server: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nservers = [\"{server}\"]\n")
}

#[test]
fn single_sections_are_put_together_key_by_key() {
    let main = format!(
        "{SMALLEST}[server]\nworkers = 2\nallow = [\"10.0.0.0/8\"]\n[local.hosts]\n\
         \"a.example\" = [\"10.0.0.1\", \"10.0.0.2\"]\n\"b.example\" = \"10.0.0.3\"\n"
    );
    let files = Files::new(
        &main,
        &[
            ("20-b.toml", "[server]\nallow = [\"192.0.2.0/24\"]\n[cache]\nstale = \"0s\"\n"),
            (
                "10-a.toml",
                "version = 1\n[server]\nallow = [\"198.51.100.0/24\"]\nudp_payload = 1400\n\
                 [local.hosts]\n\"c.example\" = \"10.0.0.4\"\n\"A.example\" = \"10.0.0.9\"\n",
            ),
        ],
    );
    let settings = files.settings();
    assert_eq!((settings.server.workers, settings.server.udp_payload), (2, 1400));
    assert_eq!(settings.server.allow, [Allow::Prefix("192.0.2.0/24".parse().unwrap())]);
    assert!(settings.cache.stale.is_zero() && settings.cache.enabled);
    let hosts = settings.local.hosts.iter();
    let hosts: Vec<String> = hosts.map(|(name, ips)| format!("{name} {ips:?}")).collect();
    assert_eq!(hosts, ["a.example [10.0.0.9]", "b.example [10.0.0.3]", "c.example [10.0.0.4]"]);
    let names = ["", "10-a.toml", "20-b.toml"];
    let read = names.map(|name| if name.is_empty() { files.main() } else { files.drop_in(name) });
    assert_eq!(settings.files, read);
    assert_eq!(settings.file, files.main());
}

#[test]
fn sections_of_a_list_are_replaced_by_name_and_as_a_whole() {
    let main = format!(
        "{}max_in_flight = 7\n{}[[route]]\nzones = [\"corp.example\"]\nupstream = \"corp\"\n\
         [[policy]]\nzone = \"one.example\"\nfile = \"z\"\nmode = \"monitor\"\n\
         [[policy]]\nzone = \"two.example\"\nfile = \"z\"\n\
         [[group]]\nname = \"guests\"\nclients = [\"10.0.0.0/8\"]\npolicies = []\n",
        plain("service", "192.0.2.1"),
        plain("corp", "192.0.2.2"),
    );
    let drop_in = format!(
        "{}{}[[route]]\nzones = [\"more.example\"]\nupstream = \"service\"\n\
         [[policy]]\nzone = \"three.example\"\nfile = \"z\"\n\
         [[policy]]\nzone = \"ONE.example\"\nfile = \"z\"\nlog = false\n\
         [[group]]\nname = \"guests\"\nclients = [\"10.1.0.0/16\"]\n",
        plain("new", "192.0.2.3"),
        plain("service", "192.0.2.4"),
    );
    let files = Files::new(&main, &[("x.toml", &drop_in)]);
    fs::write(files.folder.path().join("z"), "").unwrap();
    let settings = files.settings();
    let upstreams = settings.upstreams.iter();
    let upstreams: Vec<_> = upstreams.map(|u| (u.name.as_str(), u.max_in_flight)).collect();
    assert_eq!(upstreams, [("service", 10_000), ("corp", 10_000), ("new", 10_000)]);
    let servers = vec!["192.0.2.4:53".parse().unwrap()];
    assert_eq!(settings.upstreams[0].kind, UpstreamKind::Plain { servers });
    let routes: Vec<_> = settings.routes.iter().map(|route| route.upstream).collect();
    assert_eq!(routes, [1, 0]);
    let policies = settings.policies.iter();
    let policies: Vec<_> = policies.map(|p| (p.zone.to_string(), p.mode, p.log)).collect();
    let zone = |name: &str, log| (name.to_owned(), Mode::Enforce, log);
    let expected = [zone("one.example", false), zone("two.example", true)];
    assert_eq!(policies, [&expected[..], &[zone("three.example", true)]].concat());
    assert_eq!(settings.groups.len(), 1);
    assert_eq!(settings.groups[0].clients, ["10.1.0.0/16".parse().unwrap()]);
    assert_eq!(settings.groups[0].policies, None);
}

#[test]
fn paths_start_at_the_main_file_and_a_replaced_one_may_be_missing() {
    let policy = |file: &str| format!("[[policy]]\nzone = \"z.example\"\nfile = \"{file}\"\n");
    let main = format!("{SMALLEST}{}", policy("missing"));
    let files = Files::new(&main, &[("x.toml", &policy("rpz/z"))]);
    fs::create_dir(files.folder.path().join("rpz")).unwrap();
    fs::write(files.folder.path().join("rpz/z"), "").unwrap();
    let file = files.folder.path().join("rpz/z");
    assert_eq!(files.settings().policies[0].source, PolicySource::File(file));
}

#[test]
fn faults_name_their_file() {
    let main = format!("{SMALLEST}[server]\nworkers = 999\nlisten = [\"192.0.2.9:53\"]\n");
    let drop_in = format!(
        "version = 2\n[server]\nlistn = 1\n{}{}[[route]]\nzones = [\"é.example\", \"a..b\"]\n\
         upstream = \"x\"\n",
        plain("own", "192.0.2.9"),
        plain("own", "192.0.2.8")
    );
    let files = Files::new(&main, &[("1.toml", &drop_in), ("2.toml", "[cache\n")]);
    // nothing is put together while a file cannot be read
    let expected = "culvert.toml:5:11: server.workers: 999 is out of range; 0 to 256 is allowed\n\
        culvert.d/1.toml:1:11: version: must be 1\n\
        culvert.d/1.toml:3:1: server.listn: unknown key; did you mean \"listen\"?\n\
        culvert.d/1.toml:11:10: route[].zones: \"é.example\" is not ASCII; write the xn-- form \
        of the name\n\
        culvert.d/1.toml:11:23: route[].zones: \"a..b\" is not a domain name: ";
    let text = files.faults();
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("\nculvert.d/2.toml:1:7: ") && text.ends_with("\n6 faults"), "{text}");
    fs::write(files.drop_in("2.toml"), "").unwrap();
    let text = files.faults();
    let taken = "culvert.d/1.toml:8:8: upstream[].name: the name is taken already, on line 5\n";
    let own = "culvert.d/1.toml:6:12: upstream[].servers: this is one of our own listeners";
    assert!(text.contains(taken) && text.contains(own), "{text}");
    let unknown = "culvert.d/1.toml:12:12: route[].upstream: no [[upstream]] is named \"x\"";
    assert!(text.contains(unknown), "{text}");
}

#[test]
fn a_fault_between_two_files_names_both_places() {
    let route = "[[route]]\nzones = [\"corp.example\"]\nupstream = \"service\"\n";
    let group = |name: &str| format!("[[group]]\nname = \"{name}\"\nclients = [\"10.0.0.7\"]\n");
    let main = format!("{}{route}{}", plain("service", "192.0.2.1"), group("one"));
    let files = Files::new(&main, &[("x.toml", &format!("\n{route}{}", group("two")))]);
    let place = format!("of {}", files.main().display())
        .replace(&format!("{}/", files.folder.path().display()), "");
    let expected = format!(
        "culvert.d/x.toml:3:10: route[].zones: the zone has a route already, on line 5 {place}\n\
         culvert.d/x.toml:7:12: group[].clients: 10.0.0.7/32 is in group two here and in group \
         one on line 9 {place}; take it out of one\n2 faults"
    );
    assert_eq!(files.faults(), expected);
}

#[test]
fn loops_and_warnings_name_their_file() {
    let drop_in = "[[group]]\nname = \"far\"\nclients = [\"203.0.113.0/24\"]\n";
    let main = format!("{}[server]\nallow = [\"10.0.0.0/8\"]\n", plain("service", "192.0.2.1"));
    let second = plain("service", "192.0.2.7");
    let files = Files::new(&main, &[("1.toml", drop_in), ("2.toml", &second)]);
    let settings = files.settings();
    let warnings: Vec<_> = settings.warnings.iter().map(|w| (w.file.as_str(), w.line)).collect();
    assert_eq!(warnings, [(files.drop_in("1.toml").to_str().unwrap(), 3)]);
    let loops = settings.own_address_faults(&["192.0.2.7".parse().unwrap()]);
    let places: Vec<_> = loops.iter().map(|f| (f.file.as_str(), f.line, f.column)).collect();
    assert_eq!(places, [(files.drop_in("2.toml").to_str().unwrap(), 3, 12)]);
    assert_eq!(settings.own_address_faults(&["192.0.2.1".parse().unwrap()]), []);
}

#[test]
fn what_is_no_drop_in_is_passed_over() {
    let broken = "this is no TOML";
    let names = [".10.toml", "10.toml~", "10.toml.dpkg-new", "10.conf", "toml"];
    let files = Files::new(SMALLEST, &names.map(|name| (name, broken)));
    fs::create_dir(files.drop_in("more.toml")).unwrap();
    fs::write(files.drop_in("more.toml/10.toml"), broken).unwrap();
    assert_eq!(files.settings().files, [files.main()]);
    fs::remove_dir_all(files.drop_in("")).unwrap();
    assert_eq!(files.settings().files, [files.main()]);
    assert_eq!(drop_in_folder(Path::new("/etc/x/a.conf")), Path::new("/etc/x/a.d"));
}

#[test]
fn the_folder_has_bounds() {
    let files = Files::new(SMALLEST, &[]);
    for number in 0..limits::DROP_INS {
        fs::write(files.drop_in(&format!("{number}.toml")), "version = 1\n").unwrap();
    }
    assert_eq!(files.settings().files.len(), 1 + limits::DROP_INS);
    fs::write(files.drop_in("more.toml"), "").unwrap();
    assert_eq!(files.faults(), "culvert.d: has more than 64 files; put some together\n1 fault");

    let half = format!("#{}\n", "x".repeat(MAX_FILE as usize / 2));
    let files = Files::new(SMALLEST, &[("1.toml", &half), ("2.toml", &half)]);
    let text = files.faults();
    assert!(text.starts_with("culvert.d/2.toml: with this file the configuration is"), "{text}");
    fs::write(files.drop_in("2.toml"), "").unwrap();
    files.settings();

    let files = Files::new(SMALLEST, &[]);
    std::os::unix::fs::symlink("/nowhere", files.drop_in("1.toml")).unwrap();
    fs::write(files.drop_in("2.toml"), b"# gr\xfc\n").unwrap();
    let text = files.faults();
    assert!(text.starts_with("culvert.d/1.toml: does not exist;"), "{text}");
    assert!(text.contains("\nculvert.d/2.toml:1:5: this is not UTF-8 text;"), "{text}");
    fs::remove_dir_all(files.drop_in("")).unwrap();
    fs::write(files.folder.path().join("culvert.d"), "").unwrap();
    assert!(files.faults().starts_with("culvert.d: cannot be read: "), "{}", files.faults());
}

#[test]
fn a_draft_stands_in_for_its_file() {
    let files = Files::new(SMALLEST, &[("50.toml", "[server]\nworkers = 5\n")]);
    let with = |name, text| load_with(&files.main(), Draft { name, text });
    let workers = |name, text| with(name, text).unwrap().server.workers;
    assert_eq!(workers("10.toml", "[server]\nworkers = 1\n"), 5);
    assert_eq!(workers("90.toml", "[server]\nworkers = 1\n"), 1);
    assert_eq!(workers("50.toml", ""), 0);
    let faults = with("10.toml", "[server]\nworkrs = 1\n").unwrap_err();
    assert_eq!(faults.as_slice()[0].file, files.drop_in("10.toml").display().to_string());
    assert!(!files.drop_in("10.toml").exists());
}

#[test]
fn a_site_replaces_the_service() {
    let main = "[[upstream]]\nname = \"service\"\nurl = \"https://doh.example/dns-query\"\n\
                addresses = [\"192.0.2.1\"]\n";
    let files = Files::new(main, &[]);
    let mut site = Site {
        url: Secret::new("https://dns.site.example/hush"),
        addresses: vec!["192.0.2.7".into(), "[2001:db8::7]:444".into()],
        networks: vec!["10.1.0.0/16".into(), "::1".into(), "onlink".into()],
        ca: None,
        listen: vec!["10.1.0.2:53".into()],
    };
    let draft = |text| load_with(&files.main(), Draft { name: Site::FILE, text }).unwrap();
    let text = site.text();
    let settings = draft(&text);
    let UpstreamKind::Doh(doh) = &settings.upstreams[0].kind else { panic!("{settings:?}") };
    assert_eq!(settings.upstreams.len(), 1);
    assert_eq!((doh.host.as_str(), doh.paths[0].expose()), ("dns.site.example", "/hush"));
    assert_eq!(doh.addresses.len(), 2);
    assert_eq!(settings.server.allow.len(), 4);
    assert_eq!(settings.server.listen, [Listen::Address("10.1.0.2:53".parse().unwrap())]);
    fs::write(files.drop_in(Site::FILE), &text).unwrap();
    let held = site::held(&files.drop_in(Site::FILE)).unwrap();
    assert_eq!(held.url, "https://dns.site.example/...");
    assert_eq!(held.addresses, site.addresses);
    fs::write(files.drop_in(Site::FILE), "[[upstream").unwrap();
    assert_eq!(site::held(&files.drop_in(Site::FILE)), None);

    (site.networks, site.listen) = (Vec::new(), Vec::new());
    assert!(!site.text().contains("[server]"));
    assert!(draft(&site.text()).server.allow.len() > 4);
}

#[test]
fn the_control_socket_is_known_whatever_else_is_wrong() {
    let files = Files::new("[upstrem]\n[server]\ncontrol = \"/run/a.sock\"\nworkrs = 1\n", &[]);
    let control = || control(&files.main()).unwrap();
    assert_eq!(control(), Path::new("/run/a.sock"));
    fs::write(files.drop_in("10-a.toml"), "[server]\ncontrol = \"b.sock\"\n").unwrap();
    fs::write(files.drop_in("20-b.toml"), "[server]\ncontrol = 7\n[[").unwrap();
    assert_eq!(control(), files.folder.path().join("b.sock"));
    fs::remove_file(files.drop_in("10-a.toml")).unwrap();
    fs::write(files.main(), SMALLEST).unwrap();
    assert_eq!(control(), Path::new(CONTROL));
    assert_eq!(parse(SMALLEST, &files.main()).unwrap().server.control, Path::new(CONTROL));
    let faults = super::super::control(&files.folder.path().join("none.toml")).unwrap_err();
    assert!(faults.to_string().contains("does not exist"), "{faults}");
}

#[test]
fn settings_are_shown_with_their_origins() {
    let secret = "aHVzaCwgaHVzaCwgbXkgc2VjcmV0IHNlY3JldCEhISE=";
    let main = format!(
        "version = 1\n[[upstream]]\nname = \"service\"\nurl = \"https://doh.example/hush\"\n\
         addresses = [\n  \"192.0.2.1\",\n]\n[[tsig]]\nname = \"key\"\nsecret = \"{secret}\"\n\
         [local.hosts]\n\"a.example\" = \"10.0.0.1\"\n[server]\nworkers = 1\n"
    );
    let drop_in = "[server]\nworkers = 2\n[[upstream]]\nname = \"corp\"\nservers = ['10.0.0.53']\n";
    let files = Files::new(&main, &[("10-site.toml", drop_in)]);
    let expected = "\
# What these files say together, and where:
#   culvert.toml
#   culvert.d/10-site.toml
# \"...\" stands for what is secret: the path of a URL, the secret of a key.

version = 1  # culvert.toml:1

[server]
workers = 2  # culvert.d/10-site.toml:2

[[upstream]]
name = \"service\"  # culvert.toml:3
url = \"https://doh.example/...\"  # culvert.toml:4
addresses = [\"192.0.2.1\"]  # culvert.toml:5

[[upstream]]
name = \"corp\"  # culvert.d/10-site.toml:4
servers = [\"10.0.0.53\"]  # culvert.d/10-site.toml:5

[local.hosts]
\"a.example\" = [\"10.0.0.1\"]  # culvert.toml:12

[[tsig]]
name = \"key\"  # culvert.toml:9
secret = \"...\"  # culvert.toml:10
";
    assert_eq!(files.shown(false), expected);
    let all = files.shown(true);
    assert!(all.contains("\ntcp_idle = \"10s\"  # default\n"), "{all}");
    assert!(all.contains("\n# name: the host's name\n"), "{all}");
    let json = serde_json::to_value(show(&files.main(), true).unwrap()).unwrap();
    let line = |key: &str| {
        let lines = json["settings"].as_array().unwrap().iter();
        lines.clone().find(|line| line["key"] == key).unwrap().clone()
    };
    let file = files.drop_in("10-site.toml");
    let expected = serde_json::json!({
        "section": "server", "number": 0, "key": "workers", "value": 2, "file": file, "line": 2,
    });
    assert_eq!(line("workers"), expected);
    assert_eq!(line("tcp_idle")["default"], true);
    assert!(!json.to_string().contains("hush") && !json.to_string().contains(secret));
}

#[test]
fn what_is_shown_means_the_same() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("z"), "").unwrap();
    let main = format!(
        "{SMALLEST}{}[[policy]]\nzone = \"a.example\"\nfile = \"z\"\n\
         [[policy]]\nzone = \"b.example\"\nprimaries = [\"192.0.2.5\"]\n\
         [[policy]]\nzone = \"c.example\"\nurl = \"https://c.example/hush\"\nformat = \"hosts\"\n\
         [[group]]\nname = \"g\"\nclients = [\"10.0.0.0/8\"]\n",
        plain("corp", "10.0.0.53")
    );
    let file = folder.path().join("culvert.toml");
    fs::write(&file, main).unwrap();
    let all = show(&file, true).unwrap().to_string();
    let again = parse(&all, &file).unwrap_or_else(|faults| panic!("{faults}\n{all}"));
    let plain = |settings: &Settings| {
        // what tells places in the files is not compared
        let text = format!("{settings:?}");
        text.split("places:").next().unwrap().to_owned()
    };
    assert_eq!(plain(&again), plain(&load(&file).unwrap()));
}

//! Zones from elsewhere: where they come from, how they are watched over, and the keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::SMALLEST;
use crate::config::*;
use crate::dns::tsig::Algorithm;
use crate::limits;

/// 32 octets in base64.
const SECRET: &str = "aHVzaCwgaHVzaCwgbXkgc2VjcmV0IHNlY3JldCEhISE=";

/// A folder with the files that the tests name.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in [("z", ""), ("ca.pem", ""), ("key", SECRET)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    keep_private(&folder.path().join("key"));
    folder
}

fn keep_private(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
}

fn read_in(folder: &TempDir, lines: &str) -> Result<Settings, Faults> {
    parse(&format!("{SMALLEST}{lines}"), &folder.path().join("culvert.toml"))
}

fn settings(lines: &str) -> Settings {
    read_in(&folder(), lines).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults without the folder's name, one a line.
fn faults_in(folder: &TempDir, lines: &str) -> String {
    let text = match read_in(folder, lines) {
        Ok(_) => panic!("no fault in {lines}"),
        Err(faults) => faults.to_string(),
    };
    text.replace(&format!("{}/", folder.path().display()), "")
}

/// Asserts that the lines have one fault, whose text behind the file's name begins so.
#[track_caller]
fn one_in(folder: &TempDir, lines: &str, expected: &str) {
    let text = faults_in(folder, lines);
    let (first, count) = text.split_once('\n').unwrap();
    assert_eq!(count, "1 fault", "{text}");
    assert!(first.strip_prefix("culvert.toml").unwrap().starts_with(expected), "{first}");
    assert!(!text.contains("aHVz") && !text.contains("hidden"), "{text}");
}

#[track_caller]
fn one(lines: &str, expected: &str) {
    one_in(&folder(), lines, expected);
}

/// A zone with these lines; its first line is line 4 of the file, the lines begin on line 6.
fn zone(lines: &str) -> String {
    format!("[[policy]]\nzone = \"feed.example\"\n{lines}\n")
}

fn transferred(lines: &str) -> String {
    zone(&format!("primaries = [\"192.0.2.53\"]\n{lines}"))
}

fn downloaded(lines: &str) -> String {
    zone(&format!("url = \"https://lists.example/hidden\"\n{lines}"))
}

/// A key with these lines.
fn key(lines: &str) -> String {
    format!("[[tsig]]\nname = \"vendor-key\"\n{lines}\n")
}

fn primary(address: &str, tls_name: Option<&str>) -> Primary {
    Primary { address: address.parse().unwrap(), tls_name: tls_name.map(str::to_owned) }
}

#[test]
fn a_transferred_zone() {
    let folder = folder();
    let lines = zone(
        "primaries = [\"192.0.2.53\", \"198.51.100.53:5353\", \"[2001:db8::53]:53\",\n\
         \"tls://192.0.2.53#DNS.vendor.example.\", \"tls://[2001:db8::53]:8853#192.0.2.53\"]\n\
         tsig = \"Vendor-Key.\"\nnotify_from = [\"10.0.0.0/8\", \"192.0.2.1\"]\nca = \"ca.pem\"\n\
         until_loaded = \"servfail\"\nexpired = \"withdraw\"\nmax_loss = 100\nhold_max = \"2d\"\n\
         alarm_after = 0\nmax_bytes = \"10 MiB\"",
    );
    let lines = format!("{lines}{}", key("secret_file = \"key\""));
    let settings = read_in(&folder, &lines).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(settings.warnings, []);
    let policy = &settings.policies[0];
    let expected = Transfer {
        primaries: vec![
            primary("192.0.2.53:53", None),
            primary("198.51.100.53:5353", None),
            primary("[2001:db8::53]:53", None),
            primary("192.0.2.53:853", Some("dns.vendor.example")),
            primary("[2001:db8::53]:8853", Some("192.0.2.53")),
        ],
        tsig: Some(settings.tsig[0].clone()),
        notify_from: ["10.0.0.0/8", "192.0.2.1/32"].map(|net| net.parse().unwrap()).to_vec(),
        ca: Some(folder.path().join("ca.pem")),
    };
    assert_eq!(policy.source, PolicySource::Primaries(expected));
    assert_eq!(policy.until_loaded, UntilLoaded::Servfail);
    let care = Care {
        expired: Expired::Withdraw,
        max_loss: 100,
        hold_max: Some(Duration::from_secs(2 * 86_400)),
        alarm_after: 0,
        max_bytes: 10 << 20,
    };
    assert_eq!(policy.care, care);
}

#[test]
fn a_downloaded_zone() {
    let digits = "0123456789abcdefABCDEF".repeat(3);
    let settings = settings(&format!(
        "{}{}{}",
        zone(&format!(
            "url = \"https://Lists.example:8443/hidden?x=1\"\naddresses = [\"192.0.2.80\", \
             \"[2001:db8::80]:444\"]\nsha256 = \"{}\"\nrefresh = \"1m\"\nformat = \"hosts\"\n\
             subdomains = false",
            &digits[..64]
        )),
        downloaded("sha256 = \"https://[2001:db8::1]/hidden.sum\"").replace("feed", "b"),
        downloaded("").replace("feed", "c"),
    ));
    let [a, b, c] = settings.policies.as_slice() else { panic!("three zones") };
    let PolicySource::Url(first) = &a.source else { panic!("a download") };
    assert_eq!(first.url.expose(), "https://lists.example:8443/hidden?x=1");
    let addresses = ["192.0.2.80:8443", "[2001:db8::80]:444"].map(|a| a.parse().unwrap());
    assert_eq!((&*first.addresses, first.refresh), (&addresses[..], Duration::from_secs(60)));
    let Some(Checksum::Fixed(octets)) = first.sha256 else { panic!("a checksum") };
    assert_eq!((octets[0], octets[1], octets[31]), (0x01, 0x23, 0xcd));
    assert_eq!((a.format, a.subdomains), (ZoneFormat::Hosts, false));
    let PolicySource::Url(second) = &b.source else { panic!("a download") };
    let sum = Checksum::At(Secret::new("https://[2001:db8::1]/hidden.sum"));
    assert_eq!(second.sha256, Some(sum));
    let PolicySource::Url(third) = &c.source else { panic!("a download") };
    assert_eq!((third.refresh, &third.sha256), (Duration::from_secs(6 * 3600), &None));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("/hidden"), "{shown}");
}

#[test]
fn a_zone_comes_one_way_only() {
    one(
        &zone(""),
        ":4:1: policy[].file: is missing: zone feed.example needs `file`, or `primaries`",
    );
    let two = "zone feed.example comes one way only: by `file`, `primaries` or `url`; take the";
    one(&transferred("file = \"z\""), &format!(":6:13: policy[].primaries: {two}"));
    one(&downloaded("file = \"z\""), &format!(":6:7: policy[].url: {two}"));
    let three = transferred("file = \"z\"\nurl = \"https://lists.example/hidden\"");
    one(&three, &format!(":8:7: policy[].url: {two}"));
}

#[test]
fn primaries_are_addresses() {
    let with = |entry: &str| zone(&format!("primaries = [\"{entry}\"]"));
    let at = ":6:14: policy[].primaries: ";
    let name = "\"dns.vendor.example\" is a name; write the primary's IP address: names of \
                primaries are not looked up, since policy must not depend on an answer";
    one(&with("dns.vendor.example"), &format!("{at}{name}"));
    one(&with("tls://dns.vendor.example#dns.vendor.example"), &format!("{at}{name}"));
    one(&with("tls://192.0.2.53"), &format!("{at}the name on the server's certificate is missing"));
    one(&with("tls://192.0.2.53#"), &format!("{at}\"\" is no name that a certificate"));
    one(&with("tls://192.0.2.53#a b"), &format!("{at}\"a b\" is no name that a certificate"));
    one(&with("192.0.2.53:0"), &format!("{at}\"192.0.2.53:0\""));
    one(&with("https://192.0.2.53/hidden"), &format!("{at}\"https:…\" is not an IP address"));
    one(&with("127.0.0.1"), &format!("{at}this is one of our own listeners, which has no zone"));
    one(&zone("primaries = []"), ":6:13: policy[].primaries: the list is empty");
    let twice = with("192.0.2.53:53\", \"192.0.2.53");
    one(&twice, ":6:31: policy[].primaries: this entry is in the list already");
    let many: Vec<String> =
        (0..=limits::ZONE_PRIMARIES).map(|n| format!("192.0.2.{}", n + 1)).collect();
    let text = faults_in(&folder(), &with(&many.join("\", \"")));
    assert!(text.contains("there are more than 16 primaries"), "{text}");
}

#[test]
fn keys_go_with_their_sources() {
    let file = zone("file = \"z\"");
    for (key, value) in [
        ("tsig", "\"k\""),
        ("notify_from", "[]"),
        ("expired", "\"keep\""),
        ("addresses", "[\"192.0.2.1\"]"),
        ("sha256", "\"https://lists.example/hidden\""),
        ("refresh", "\"1h\""),
        ("ca", "\"ca.pem\""),
        ("max_loss", "50"),
        ("hold_max", "\"1d\""),
        ("alarm_after", "3"),
        ("max_bytes", "\"1 MiB\""),
    ] {
        let text = faults_in(&folder(), &format!("{file}{key} = {value}\n"));
        assert!(text.contains(&format!("policy[].{key}: goes with `")), "{text}");
        assert!(text.ends_with("only; take it out\n1 fault"), "{text}");
    }
    one(&transferred("refresh = \"1h\""), ":7:11: policy[].refresh: goes with `url` only; take");
    one(
        &transferred("format = \"rpz\""),
        ":7:10: policy[].format: goes with `file` and `url` only",
    );
    one(
        &transferred("subdomains = true"),
        ":7:14: policy[].subdomains: goes with `file` and `url`",
    );
    one(&transferred("ca = \"ca.pem\""), ":7:6: policy[].ca: none of the primaries is spoken to");
    one(&downloaded("tsig = \"k\""), ":7:8: policy[].tsig: goes with `primaries` only; take it");
    one(&downloaded("expired = \"keep\""), ":7:11: policy[].expired: goes with `primaries` only");
    one(&downloaded("subdomains = true"), ":7:14: policy[].subdomains: goes with the formats");
    // a cold start is no matter for a file, whatever it says
    settings(&format!("{file}until_loaded = \"servfail\"\n"));
}

#[test]
fn values_of_the_supply_have_their_bounds() {
    one(
        &downloaded("refresh = \"59s\""),
        ":7:11: policy[].refresh: \"59s\" is out of range; 1m to",
    );
    one(&downloaded("refresh = \"31d\""), ":7:11: policy[].refresh: \"31d\" is out of range");
    one(&downloaded("max_loss = 101"), ":7:12: policy[].max_loss: 101 is out of range; 0 to 100");
    one(&downloaded("hold_max = \"0s\""), ":7:12: policy[].hold_max: \"0s\" is out of range");
    one(&downloaded("alarm_after = -1"), ":7:15: policy[].alarm_after: -1 is out of range");
    one(&downloaded("max_bytes = \"1 B\""), ":7:13: policy[].max_bytes: \"1 B\" is out of range");
    one(&transferred("expired = \"drop\""), ":7:11: policy[].expired: \"drop\" is not one of");
    let checksum = ":7:10: policy[].sha256: a SHA-256 checksum has 64 hexadecimal digits";
    one(&downloaded("sha256 = \"abc\""), checksum);
    one(&downloaded(&format!("sha256 = \"{}\"", "xy".repeat(32))), checksum);
    one(&downloaded("sha256 = \"http://lists.example/hidden\""), ":7:10: policy[].sha256: plain");
    let url = |url: &str| zone(&format!("url = \"{url}\""));
    let plain = ":6:7: policy[].url: plain http can be changed on its way; write https://";
    one(&url("http://lists.example/hidden"), plain);
    one(&url("https://lists.example"), ":6:7: policy[].url: the URL needs a path");
    let twice = "addresses = [\"192.0.2.80\", \"192.0.2.80:443\"]";
    one(&downloaded(twice), ":7:28: policy[].addresses: the zone has this address already");
}

#[test]
fn keys_of_transfers() {
    let folder = folder();
    let bind = format!("key \"old.key\" {{ algorithm hmac-sha1; secret \"{SECRET}\"; }};\n");
    std::fs::write(folder.path().join("bind.key"), bind).unwrap();
    keep_private(&folder.path().join("bind.key"));
    let lines = format!(
        "{}{}{}",
        key(&format!("secret = \" {SECRET} \"")),
        "[[tsig]]\nname = \"Old.Key.\"\nalgorithm = \"hmac-sha1\"\nweak = true\n\
         secret_file = \"bind.key\"\n",
        "[[tsig]]\nname = \"long\"\nalgorithm = \"hmac-sha512\"\nsecret_file = \"key\"\n",
    );
    let settings = read_in(&folder, &lines).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(settings.warnings, []);
    let found: Vec<_> =
        settings.tsig.iter().map(|key| (key.name.to_string(), key.algorithm)).collect();
    let expected = [
        ("vendor-key", Algorithm::Sha256),
        ("old.key", Algorithm::Sha1),
        ("long", Algorithm::Sha512),
    ];
    assert_eq!(found, expected.map(|(name, algorithm)| (name.to_owned(), algorithm)));
    for key in &settings.tsig {
        assert_eq!(&*key.secret, b"hush, hush, my secret secret!!!!");
    }
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hush") && !shown.contains("aHVz"), "{shown}");
    assert!(!shown.contains("104, 117, 115, 104"), "{shown}");
}

#[test]
fn a_zone_names_a_key_that_is_there() {
    let known = key(&format!("secret = \"{SECRET}\""));
    let expected =
        ":10:8: policy[].tsig: no [[tsig]] is named \"vendr-key\"; did you mean \"vendor-key\"?";
    one(&format!("{known}{}", transferred("tsig = \"vendr-key\"")), expected);
    let none = ":7:8: policy[].tsig: no [[tsig]] is named \"k\"; there is none";
    one(&transferred("tsig = \"k\""), none);
    // a key that has a fault itself is there
    one(
        &format!("{}{}", key("secret = \"\""), transferred("tsig = \"vendor-key\"")),
        ":6:10: tsig[].secret: the secret is empty",
    );
    let unnamed = format!("[[tsig]]\nname = 5\nsecret = \"{SECRET}\"\n");
    one(&format!("{unnamed}{}", transferred("tsig = \"k\"")), ":5:8: tsig[].name: a string is");
}

#[test]
fn faults_of_keys() {
    let secret = format!("secret = \"{SECRET}\"");
    one(&format!("[[tsig]]\n{secret}"), ":4:1: tsig[].name: is missing");
    one(&key(""), ":4:1: tsig[].secret_file: is missing: a key needs `secret_file`, or `secret`");
    let both = key(&format!("secret_file = \"key\"\n{secret}"));
    one(&both, ":7:10: tsig[].secret: a key has either `secret_file` or `secret`");
    one(&(key(&secret) + &key(&secret)), ":8:8: tsig[].name: the name is taken already, on line 5");
    one(&key("secret = \"aHVzaA\""), ":6:10: tsig[].secret: the secret is not base64; copy it");
    one(&key("secret = \" \""), ":6:10: tsig[].secret: the secret is empty");
    for word in ["hmac-sha1", "hmac-md5"] {
        let weak = key(&format!("algorithm = \"{word}\"\n{secret}"));
        let expected = format!(
            ":6:13: tsig[].algorithm: {word} can be broken and should not be used any more"
        );
        one(&weak, &expected);
        settings(&format!("{weak}weak = true\n"));
    }
    let unknown = key(&format!("algorithm = \"hmac-sha-256\"\n{secret}"));
    one(&unknown, ":6:13: tsig[].algorithm: \"hmac-sha-256\" is not one of \"hmac-sha256\"");
    let many: String = (0..=limits::TSIG_KEYS)
        .map(|n| key(&secret).replace("vendor-key", &format!("k{n}")))
        .collect();
    let text = faults_in(&folder(), &many);
    assert!(text.contains("tsig[]: there are more than 256 keys\n1 fault"), "{text}");
}

#[test]
fn faults_of_key_files() {
    let folder = folder();
    let write = |text: &str| {
        std::fs::write(folder.path().join("f"), text).unwrap();
        keep_private(&folder.path().join("f"));
    };
    let with = |lines: &str| key(&format!("secret_file = \"f\"\n{lines}"));
    one_in(&folder, &with(""), ":6:15: tsig[].secret_file: \"f\" does not exist");
    let at = ":6:15: tsig[].secret_file: \"f\": ";
    for (text, expected) in [
        ("\n", "the secret is empty"),
        ("aHVzaA aHVzaA", "the secret is not base64"),
        ("key \"vendor-key\" { secret \"aHVzaA==\"; };", "is no key file; write key"),
        (&"aHVz".repeat(5000), "is larger than 16384 octets; this is no key"),
    ] {
        write(text);
        one_in(&folder, &with(""), &format!("{at}{expected}"));
    }
    std::fs::write(folder.path().join("f"), b"\xff\xfe").unwrap();
    one_in(&folder, &with(""), &format!("{at}is no text"));
    write(&format!("key \"other\" {{ algorithm hmac-sha512; secret \"{SECRET}\"; }};"));
    let text = faults_in(&folder, &with(""));
    let expected = "culvert.toml:4:1: tsig[].algorithm: \"f\" says hmac-sha512; write algorithm = \
                    \"hmac-sha512\"\nculvert.toml:5:8: tsig[].name: \"f\" holds the key other; \
                    correct this name, or the file\n2 faults";
    assert_eq!(text, expected);
}

#[test]
fn a_secret_that_is_short_or_open_to_all_is_told() {
    let folder = folder();
    let warnings = |lines: &str| -> Vec<String> {
        let settings = read_in(&folder, lines).unwrap_or_else(|faults| panic!("{faults}"));
        let folder = format!("{}/", folder.path().display());
        settings.warnings.iter().map(|w| w.to_string().replace(&folder, "")).collect()
    };
    let short = "culvert.toml:6:10: tsig[].secret: the secret of key vendor-key is short: 15 \
                 octets; hmac-sha256 works with 32, so ask for one of that length";
    assert_eq!(warnings(&key("secret = \"aHVzaCwgaHVzaCwgbXkg\"")), [short]);
    assert!(warnings(&key("secret = \"aHVzaCwgaHVzaCwgbXkgIQ==\"")).is_empty(), "half is enough");
    let path = folder.path().join("key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = "culvert.toml:6:15: tsig[].secret_file: \"key\" may be read by everybody on this \
                host; chmod 640 it";
    assert_eq!(warnings(&key("secret_file = \"key\"")), [open]);
}

#[test]
fn a_feed_that_a_group_leaves_out_is_not_told() {
    let group = "[[group]]\nname = \"g\"\nclients = [\"10.0.0.0/8\"]\npolicies = [\"own.local\"]\n";
    let own = "[[policy]]\nzone = \"own.local\"\nfile = \"z\"\n";
    for feed in [transferred(""), downloaded("")] {
        assert_eq!(settings(&format!("{own}{feed}{group}")).warnings, []);
    }
}

//! Groups of clients, formats of zones, the reserved name, and what is only warned of.

use tempfile::TempDir;

use super::SMALLEST;
use crate::config::{Faults, Settings, ZoneFormat, parse};
use crate::limits;

/// Loads the smallest file with these lines from a folder in which there is a file `z`.
fn read(lines: &str) -> Result<Settings, Faults> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("z"), "").unwrap();
    parse(&format!("{SMALLEST}{lines}"), &folder.path().join("culvert.toml"))
}

fn settings(lines: &str) -> Settings {
    read(lines).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A `[[policy]]` for each zone; four lines each, the first one is line 4 of the file.
fn zones(zones: &[&str]) -> String {
    let section = |zone: &&str| format!("[[policy]]\nzone = \"{zone}\"\nfile = \"z\"\n\n");
    zones.iter().map(section).collect()
}

fn group(name: &str, clients: &str, lines: &str) -> String {
    format!("[[group]]\nname = \"{name}\"\nclients = [{clients}]\n{lines}\n")
}

/// Asserts that the lines have one fault, whose text behind the file's name begins so.
#[track_caller]
fn one(lines: &str, expected: &str) {
    let text = read(lines).expect_err("a fault").to_string();
    let (first, count) = text.split_once('\n').unwrap();
    assert_eq!(count, "1 fault", "{text}");
    let (_, first) = first.split_once("culvert.toml").unwrap();
    assert!(first.starts_with(expected), "{first}");
}

/// The warnings behind the file's name.
fn warnings(lines: &str) -> Vec<String> {
    let warnings = settings(lines).warnings.into_iter().map(|warning| warning.to_string());
    warnings.map(|text| text.split_once("culvert.toml").unwrap().1.to_owned()).collect()
}

const LAN: &str = "\"10.0.0.0/8\"";

#[test]
fn a_group_keeps_its_own_order() {
    let known = zones(&["a.local", "b.local", "c.local"]);
    let lines = group("g", LAN, "policies = [\"c.local\", \"A.local.\", \"b.local\"]");
    let settings = settings(&format!("{known}{lines}"));
    assert_eq!(settings.groups[0].policies, Some(vec![2, 0, 1]));
    assert_eq!(settings.groups[0].upstream, None);
    assert_eq!(settings.warnings, []);
}

#[test]
fn without_the_key_a_group_has_every_zone_and_with_an_empty_list_none() {
    let known = zones(&["a.local"]);
    let with = |lines: &str| settings(&format!("{known}{}", group("g", LAN, lines)));
    assert_eq!(with("").groups[0].policies, None);
    assert_eq!(with("policies = []").groups[0].policies, Some(vec![]));
    assert_eq!(with("upstream = \"upstream-1\"").groups[0].upstream, Some(0));
}

#[test]
fn names_and_clients_are_needed() {
    one("[[group]]\nclients = [\"10.0.0.7\"]", ":4:1: group[].name: is missing");
    one("[[group]]\nname = \"g\"", ":4:1: group[].clients: is missing");
    one(&group("g", "", ""), ":6:11: group[].clients: the list is empty");
    one(&group("a b", LAN, ""), ":5:8: group[].name: \"a b\" cannot be a name here");
    let twice = group("g", LAN, "") + &group("g", "\"10.1.0.0/16\"", "");
    one(&twice, ":9:8: group[].name: the name is taken already, on line 5");
    one(&group("g", LAN, "polices = []"), ":7:1: group[].polices: unknown key; did you mean \"pol");
}

#[test]
fn networks_are_right_and_in_one_group_only() {
    let host_bits = group("g", "\"192.168.50.9/24\"", "");
    let expected =
        ":6:12: group[].clients: \"192.168.50.9/24\" has host bits set; write \"192.168.50.0/24\"";
    one(&host_bits, expected);
    one(&group("g", "\"onlink\"", ""), ":6:12: group[].clients: \"onlink\" is not a network");
    one(
        &group("g", "\"::ffff:10.0.0.7\"", ""),
        ":6:12: group[].clients: \"::ffff:10.0.0.7\" is an",
    );
    one(&group("g", "\"10.0.0.7\", \"10.0.0.7/32\"", ""), ":6:24: group[].clients: this entry is");
    let shared = group("staff", LAN, "") + &group("guests", "\"10.0.0.7\", \"10.0.0.0/8\"", "");
    let expected = ":10:24: group[].clients: 10.0.0.0/8 is in group guests here and in group \
                    staff on line 6; take it out of one";
    one(&shared, expected);
    // one within the other is what the longest prefix is for
    settings(&(group("staff", LAN, "") + &group("guests", "\"10.0.0.0/9\"", "")));
}

#[test]
fn zones_and_upstreams_of_a_group_are_known() {
    let known = zones(&["allow.local", "feed.example"]);
    let with = |lines: &str| format!("{known}{}", group("g", LAN, lines));
    let expected = ":15:27: group[].policies: no [[policy]] has the zone \"feed.exmaple\"; did you \
                    mean \"feed.example\"?";
    one(&with("policies = [\"allow.local\",\"feed.exmaple\"]"), expected);
    let expected = ":15:13: group[].policies: no [[policy]] has the zone \"zzz\"; there are: \
                    allow.local, feed.example";
    one(&with("policies = [\"zzz\"]"), expected);
    let none = group("g", LAN, "policies = [\"a.local\"]");
    one(&none, ":7:13: group[].policies: no [[policy]] has the zone \"a.local\"; there is none");
    let twice = with("policies = [\"feed.example\", \"feed.example.\"]");
    one(&twice, ":15:29: group[].policies: this entry is in the list already; take it out");
    let exceptions = with("policies = [\"exceptions.culvert\"]");
    one(&exceptions, ":15:13: group[].policies: exceptions come first in every group");
    let expected = ":15:12: group[].upstream: no [[upstream]] is named \"upstrem-1\"; did you mean \
                    \"upstream-1\"?";
    one(&with("upstream = \"upstrem-1\""), expected);
    // what a broken section would have been called is not asked for
    let broken =
        format!("[[policy]]\nzone = 5\nfile = \"z\"\n{}", with("policies = [\"b.local\"]"));
    one(&broken, ":5:8: policy[].zone: a string is needed");
}

#[test]
fn many_groups() {
    let groups = |count: usize| -> String {
        let one =
            |n: usize| group(&format!("g{n}"), &format!("\"10.0.{}.{}\"", n / 256, n % 256), "");
        (0..count).map(one).collect()
    };
    assert_eq!(settings(&groups(limits::GROUPS)).groups.len(), 256);
    one(&groups(limits::GROUPS + 1), ":1028:1: group[]: there are more than 256 groups");
}

#[test]
fn formats_of_zones() {
    let zone = |lines: &str| format!("[[policy]]\nzone = \"a.local\"\nfile = \"z\"\n{lines}\n");
    for format in ZoneFormat::WORDS {
        let settings = settings(&zone(&format!("format = \"{format}\"")));
        let policy = &settings.policies[0];
        assert_eq!((policy.format.as_str(), policy.subdomains), (*format, true));
    }
    for format in ["domains", "hosts"] {
        let settings = settings(&zone(&format!("format = \"{format}\"\nsubdomains = false")));
        assert!(!settings.policies[0].subdomains);
    }
    for value in ["true", "false"] {
        let expected =
            ":7:14: policy[].subdomains: goes with the formats \"domains\" and \"hosts\"";
        one(&zone(&format!("subdomains = {value}")), expected);
        one(&zone(&format!("subdomains = {value}\nformat = \"rpz\"")), expected);
    }
    let misspelt = zone("format = \"host\"\nsubdomains = true");
    one(
        &misspelt,
        ":7:10: policy[].format: \"host\" is not one of \"rpz\", \"domains\", \"hosts\"",
    );
}

#[test]
fn the_name_of_exceptions_is_reserved() {
    let why = "this zone name is reserved: Culvert's own exceptions act under it";
    one(&zones(&["Exceptions.Culvert."]), &format!(":5:8: policy[].zone: {why}"));
    let route = "[[route]]\nzones = [\"a\", \"exceptions.culvert\"]\nupstream = \"upstream-1\"";
    one(route, &format!(":5:15: route[].zones: {why}"));
    settings(&zones(&["my.exceptions.culvert", "culvert"]));
}

#[test]
fn a_zone_of_this_host_that_a_group_leaves_out_is_told() {
    let known = zones(&["allow.local", "feed.example", "block.local"]);
    let guests = group("guests", LAN, "policies = [\"feed.example\"]");
    let tail = "a zone from a file of this host; add it to policies if its rules should hold for \
                these clients";
    let expected = ["allow.local", "block.local"]
        .map(|zone| format!(":19:12: group[].policies: group guests leaves out {zone}, {tail}"));
    assert_eq!(warnings(&format!("{known}{guests}")), expected);
    // a zone that is off holds for nobody
    let off = "[[policy]]\nzone = \"off.local\"\nfile = \"z\"\nmode = \"off\"\n";
    let all = group("g", LAN, "policies = [\"allow.local\"]");
    assert!(warnings(&format!("{off}{}{all}", zones(&["allow.local"]))).is_empty());
}

#[test]
fn a_group_that_is_not_filtered_is_told() {
    let told = warnings(&(zones(&["a.local"]) + &group("lab", LAN, "policies = []")));
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = ":11:12: group[].policies: clients of group lab are not filtered";
    assert!(told[0].starts_with(expected), "{told:?}");
}

#[test]
fn a_group_outside_the_access_list_is_told() {
    let told = |allow: &str, clients: &str| {
        let told = warnings(&format!("[server]\nallow = [{allow}]\n{}", group("g", clients, "")));
        let expected = ":8:11: group[].clients: group g is never served: all its clients are \
                        outside server.allow; add their networks there";
        assert!(told.is_empty() || told == [expected], "{told:?}");
        !told.is_empty()
    };
    assert!(told(LAN, "\"192.0.2.0/24\""));
    assert!(told(LAN, "\"192.0.2.0/24\", \"2001:db8::/64\""));
    assert!(told("", LAN));
    assert!(told("\"10.0.0.0/9\"", "\"10.128.0.0/9\""));
    // in part inside, or around it
    assert!(!told(LAN, "\"192.0.2.0/24\", \"10.9.9.9\""));
    assert!(!told("\"10.9.9.9\"", LAN));
    // what is on link is known at the start only, and is never IPv4
    assert!(!told("\"onlink\"", "\"2001:db8::/64\""));
    assert!(told("\"onlink\"", LAN));
    assert!(!told("\"::/1\", \"0.0.0.0/1\"", "\"2001:db8::/64\""));
}

#[test]
fn warnings_come_in_the_order_of_the_file_and_not_beside_faults() {
    let lines = zones(&["a.local"])
        + &group("late", "\"10.0.0.0/8\"", "policies = []")
        + "[[group]]\npolicies = []\nname = \"far\"\nclients = [\"192.0.2.0/24\"]\n";
    let told = warnings(&lines);
    let lines_of: Vec<&str> = told.iter().map(|text| text.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines_of, ["11", "13", "15"], "{told:?}");
    one(&format!("{lines}polices = []"), ":16:1: group[].polices: unknown key");
}

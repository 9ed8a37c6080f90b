//! `culvert check-zone`: every kind of finding, in words and as JSON, with its exit status.

use crate::harness::process::run;
use crate::harness::relay::PROGRAM;
use crate::harness::secs;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A zone with one of each.
const ODD: &str = "$TTL 300\n\
                   block.test. SOA localhost. nobody.invalid. 42 3600 600 86400 60\n\
                   block.test. NS localhost.\n\
                   $ORIGIN block.test.\n\
                   bad.example CNAME .\n\
                   Bad.Example CNAME *.\n\
                   twice.example CNAME rpz-drop.\n\
                   twice.example CNAME rpz-drop.\n\
                   *.wild.example CNAME .\n\
                   x.hidden.wild.example CNAME rpz-passthru.\n\
                   more.wild.example CNAME .\n\
                   8.0.0.0.10.rpz-ip CNAME .\n\
                   16.0.0.1.10.rpz-ip CNAME .\n\
                   odd..example CNAME .\n\
                   24.1.2.0.192.rpz-ip CNAME .\n\
                   $INCLUDE part\n";

/// Runs `culvert check-zone FILE ...`: exit status, standard output, standard error.
fn check(file: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    let output = run(command.arg("check-zone").arg(file).args(args), secs(20));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let status = output.status.code().expect("it ends by itself");
    (status, text(&output.stdout), text(&output.stderr))
}

fn json(file: &Path, args: &[&str]) -> (i32, Value) {
    let (status, text, errors) = check(file, &[args, &["--json"]].concat());
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{errors}"));
    (status, value)
}

#[test]
fn a_zone_with_one_of_each() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("odd.rpz");
    std::fs::write(&file, ODD).expect("written");
    std::fs::write(dir.path().join("part"), "local A 192.0.2.1\nlocal NOPE x\n").expect("written");

    let (status, text, errors) = check(&file, &[]);
    assert_eq!((status, errors.as_str()), (1, ""), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    // the first line may break: the folder's name has any length
    let text = text.replace(&format!("{}/", dir.path().display()), "");
    for wanted in [
        "zone block.test, serial 42, 10 rules\n",
        "  IP 2, QNAME 8\n",
        "  DROP 2, Local-Data 1, NODATA 1, NXDOMAIN 5, PASSTHRU 1\n",
        "  records that are no rules by their nature: 1\n",
        "\nSkipped: records that are no usable rules: 3\n  line 14: odd..example\n    the name \
         has an empty label\n  line 15: 24.1.2.0.192.rpz-ip\n",
        "part, line 2: local\n    unknown record type NOPE\n",
        "\nConflicts: the first rule counts, a later one says something else: 1\n  bad.example: \
         NXDOMAIN, not NODATA\n    line 5: bad.example CNAME .\n    line 6: Bad.Example CNAME *.\n",
        "says the same: 1\n  twice.example: DROP\n    line 7: twice.example CNAME rpz-drop.\n",
        "  hidden.wild.example: not covered by *.wild.example\n    because of \
         x.hidden.wild.example\n",
        "  *.more.wild.example: not covered by *.wild.example\n",
        "Redundant: a wider rule does the same, these could be left out: 2\n  more.wild.example: \
         *.wild.example does NXDOMAIN too\n  16.0.0.1.10.rpz-ip: 8.0.0.0.10.rpz-ip does NXDOMAIN \
         too\n",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }

    let (status, value) = json(&file, &[]);
    assert_eq!((status, &value["clean"]), (1, &Value::Bool(false)));
    for (pointer, wanted) in [
        ("/zone", "block.test"),
        ("/skipped/first/0/owner", "odd..example"),
        ("/conflicts/first/0/void", "NODATA"),
        ("/conflicts/first/0/written/1/text", "Bad.Example CNAME *."),
        ("/duplicates/first/0/in_force", "DROP"),
        ("/hidden/first/0/name", "hidden.wild.example"),
        ("/redundant/first/1/trigger", "IP"),
    ] {
        assert_eq!(value.pointer(pointer).and_then(Value::as_str), Some(wanted), "{value}");
    }
    for (pointer, wanted) in [
        ("/serial", 42),
        ("/rules", 10),
        ("/by_trigger/QNAME", 8),
        ("/by_action/NXDOMAIN", 5),
        ("/unused", 1),
        ("/skipped/total", 3),
        ("/hidden/total", 1),
        ("/bare/total", 2),
    ] {
        assert_eq!(
            value.pointer(pointer).and_then(Value::as_u64),
            Some(wanted),
            "{pointer} {value}"
        );
    }
}

#[test]
fn lists_and_files_that_cannot_be_loaded() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("ads.txt");
    std::fs::write(&file, "# ads\nads.example\n*.track.example\n").expect("written");
    let (status, text, _) = check(&file, &["--format", "domains"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("zone ads, serial 1") && text.contains("Nothing is wrong."), "{text}");
    let (status, value) = json(&file, &["--format", "domains", "--subdomains", "--zone", "a.b"]);
    assert_eq!((status, &value["zone"], &value["rules"]), (0, &"a.b".into(), &3.into()));

    let (status, _, errors) = check(&file, &[]);
    assert_eq!(status, 78);
    assert!(errors.contains("set format = \"domains\" for it"), "{errors}");
    let (status, value) = json(&file, &["--format", "hosts"]);
    assert_eq!((status, &value["faults"][0]["line"]), (78, &2.into()), "{value}");
    let (status, _, errors) = check(&dir.path().join("none"), &[]);
    assert_eq!(status, 78);
    assert!(errors.ends_with("none: no such file\n"), "{errors}");

    std::fs::write(&file, "0.0.0.0 ads.example\n192.0.2.9 nas.home\n").expect("written");
    let (status, value) = json(&file, &["--format", "hosts"]);
    assert_eq!((status, &value["by_action"]["Local-Data"]), (0, &1.into()), "{value}");
}

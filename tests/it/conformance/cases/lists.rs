//! Lists of domains and hosts files as policy zones.

use super::Case;

fn domains(text: &str) -> Case {
    Case::new("[[policy]] format in docs/CONFIG.md").list("domains", text).ask("bad.example.com A")
}

#[test]
fn a_name_of_a_list_is_denied() {
    domains("# a list\nbad.example.com\n").gives("NXDOMAIN");
}

#[test]
fn names_below_it_too() {
    domains("bad.example.com").ask("www.bad.example.com A").gives("NXDOMAIN");
}

#[test]
fn names_above_it_are_not() {
    domains("bad.example.com")
        .data("example.com A 192.0.2.7")
        .ask("example.com A")
        .gives("A 192.0.2.7");
}

#[test]
fn names_that_only_end_alike_are_not() {
    domains("bad.example.com")
        .data("notbad.example.com A 192.0.2.7")
        .ask("notbad.example.com A")
        .gives("A 192.0.2.7");
}

#[test]
fn names_below_it_can_be_spared() {
    Case::new("[[policy]] subdomains in docs/CONFIG.md")
        .list_with("domains", "subdomains = false", "bad.example.com")
        .data("www.bad.example.com A 192.0.2.7")
        .ask("www.bad.example.com A")
        .gives("A 192.0.2.7");
}

#[test]
fn a_name_below_another_one_of_the_list_hides_nothing() {
    domains("bad.example.com\na.b.bad.example.com").ask("b.bad.example.com A").gives("NXDOMAIN");
}

#[test]
fn a_line_that_is_no_name_costs_itself_only() {
    domains("not a name at all!!\n..\nbad.example.com\n").gives("NXDOMAIN");
}

#[test]
fn capitals_comments_and_line_ends_of_windows() {
    domains("BAD.Example.COM  # why\r\nother.example.com\r\n").gives("NXDOMAIN");
}

#[test]
fn a_list_with_an_action_of_its_own() {
    Case::new("[[policy]] action in docs/CONFIG.md")
        .list_with("domains", "action = \"cname:web.garden.net\"", "bad.example.com")
        .data("web.garden.net A 192.0.2.80")
        .ask("bad.example.com A")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn a_list_that_only_watches() {
    Case::new("[[policy]] mode in docs/CONFIG.md")
        .list_with("domains", "mode = \"monitor\"", "bad.example.com")
        .data("bad.example.com A 192.0.2.7")
        .ask("bad.example.com A")
        .gives("A 192.0.2.7");
}

#[test]
fn a_zone_before_the_list_may_allow() {
    domains("bad.example.com")
        .zone("bad.example.com CNAME rpz-passthru.")
        .data("bad.example.com A 192.0.2.7")
        .gives("A 192.0.2.7");
}

fn hosts(text: &str) -> Case {
    Case::new("[[policy]] format in docs/CONFIG.md").list("hosts", text).ask("bad.example.com A")
}

#[test]
fn a_host_at_nowhere_is_denied() {
    hosts("127.0.0.1 localhost\n0.0.0.0 bad.example.com worse.example.com\n").gives("NXDOMAIN");
}

#[test]
fn a_second_host_on_the_line_too() {
    hosts("0.0.0.0 bad.example.com worse.example.com").ask("worse.example.com A").gives("NXDOMAIN");
}

#[test]
fn localhost_of_a_hosts_file_is_not_denied() {
    hosts("127.0.0.1 localhost\n0.0.0.0 bad.example.com\n").ask("localhost A").gives("A 127.0.0.1");
}

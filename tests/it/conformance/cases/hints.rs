//! Address hints inside HTTPS and SVCB records (RFC 9460 section 7.3) are addresses too.

use super::Case;

fn case() -> Case {
    Case::new("a client may connect to a hint without asking for A")
        .data(
            "www.example.com   HTTPS 192.0.2.7
             six.example.com   HTTPS 2001:db8::7
             _dns.example.com  SVCB  192.0.2.7",
        )
        .zone("32.7.2.0.192.rpz-ip CNAME .\n128.7.zz.db8.2001.rpz-ip CNAME *.")
}

#[test]
fn a_hint_of_four_is_judged() {
    case().ask("www.example.com HTTPS").gives("NXDOMAIN");
}

#[test]
fn a_hint_of_six_is_judged() {
    case().ask("six.example.com HTTPS").gives("NODATA");
}

#[test]
fn a_hint_in_svcb_is_judged() {
    case().ask("_dns.example.com SVCB").gives("NXDOMAIN");
}

#[test]
fn hints_can_be_left_alone() {
    case().set("svcb_hints = false").ask("www.example.com HTTPS").gives("HTTPS");
}

#[test]
fn a_hint_outside_all_blocks_passes() {
    case().data("free.example.com HTTPS 192.0.2.8").ask("free.example.com HTTPS").gives("HTTPS");
}

#[test]
fn a_hint_behind_an_alias_is_judged_at_its_link() {
    case()
        .data("first.example.org CNAME www.example.com")
        .ask("first.example.org HTTPS")
        .gives("NXDOMAIN > www.example.com");
}

//! Lists over HTTPS: what a good server's answer becomes, and what each fault of a bad one is
//! called. The library's own fetch against a scripted web server.

use crate::harness::process::{LOCAL, free_port};
use crate::harness::tls::{HOST, Shown, Tls};
use crate::harness::web::{OTHER_HOST, Page, Step, Web, chunk, gzip};
use crate::harness::{millis, secs};
use culvert::policy::set::{Mode, Override, ZoneSettings};
use culvert::rpz::Form;
use culvert::upstream::TlsFault;
use culvert::zones::download::{
    self, Bounds, Failure, Fault, Fetched, Piece, Resolver, Validators,
};
use culvert::zones::{Care, Checksum, Download, Origin, Source};
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

/// The path of every list; no message may hold it.
const PATH: &str = "/secret-list.txt";
const SUM_PATH: &str = "/secret-list.txt.sha256";
const TEXT: &str = "bad.example\nworse.example\n";
/// A little more than a test's list may have.
const MAX: u64 = 1 << 20;

/// What a fetch may ask for addresses, and what it asked.
#[derive(Default)]
struct Names {
    known: HashMap<&'static str, IpAddr>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    fn of(hosts: &[&'static str]) -> Names {
        let known = hosts.iter().map(|host| (*host, IpAddr::V4(Ipv4Addr::LOCALHOST))).collect();
        Names { known, asked: Mutex::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn addresses<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send + 'a>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let found = self.known.get(host).map(|address| vec![*address]);
        Box::pin(async move { found.ok_or_else(|| "the upstream has no such name".to_owned()) })
    }
}

/// The list of a server, by the operator's address.
fn list_at(web: &Web, tls: &Tls) -> Download {
    Download {
        url: web.url(PATH),
        addresses: vec![web.address],
        ca: Some(tls.ca()),
        sha256: None,
        every: secs(3600),
    }
}

/// Patience for tests: what should end ends soon, what should go on has time for a busy machine.
fn bounds() -> Bounds {
    Bounds {
        connect: secs(20),
        head: secs(20),
        stall: secs(20),
        whole: secs(60),
        ..Bounds::of(MAX)
    }
}

fn fetch_with(
    list: &Download,
    known: &Validators,
    names: &Names,
    bounds: &Bounds,
) -> Result<Fetched, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(download::fetch_within(list, known, names, bounds))
}

fn fetch(list: &Download) -> Result<Fetched, Failure> {
    fetch_with(list, &Validators::default(), &Names::default(), &bounds())
}

#[track_caller]
fn text_of(fetched: Result<Fetched, Failure>) -> (String, Validators) {
    match fetched {
        Ok(Fetched::List { text, validators }) => (String::from_utf8(text).unwrap(), validators),
        other => panic!("no list came: {other:?}"),
    }
}

/// The fault of a fetch that must fail, and that must keep the path to itself.
#[track_caller]
fn fault_of(fetched: Result<Fetched, Failure>) -> Fault {
    let failure = fetched.expect_err("a fetch that must fail");
    let shown = format!("{failure} {failure:?}");
    assert!(!shown.contains("secret"), "{shown}");
    failure.fault
}

/// What becomes of a page.
#[track_caller]
fn fault_with(page: Page) -> Fault {
    fault_within(page, bounds())
}

#[track_caller]
fn fault_within(page: Page, bounds: Bounds) -> Fault {
    let tls = Tls::new();
    let web = Web::start(&tls);
    web.set(PATH, page);
    let list = list_at(&web, &tls);
    fault_of(fetch_with(&list, &Validators::default(), &Names::default(), &bounds))
}

#[test]
fn a_list_comes_once_for_each_version() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    web.set(PATH, Page::list(TEXT));
    let list = list_at(&web, &tls);
    let (text, first) = text_of(fetch(&list));
    assert_eq!(text, TEXT);
    let asked = web.last();
    assert_eq!(asked.field("host"), format!("{HOST}:{}", web.address.port()));
    let agent = concat!("culvert/", env!("CARGO_PKG_VERSION"));
    assert_eq!((asked.path.as_str(), asked.field("user-agent")), (PATH, agent));
    assert_eq!((asked.field("if-none-match"), asked.field("if-modified-since")), ("", ""));

    let again = |known| fetch_with(&list, known, &Names::default(), &bounds());
    assert_eq!(again(&first), Ok(Fetched::NotModified));
    let asked = web.last();
    assert_eq!(Some(asked.field("if-none-match")), first.etag.as_deref());
    assert_eq!(Some(asked.field("if-modified-since")), first.last_modified.as_deref());

    web.set(PATH, Page::list("new.example\n"));
    let (text, second) = text_of(again(&first));
    assert!(text == "new.example\n" && second.etag != first.etag);
    // what was damaged on the disk is done without
    let damaged = Validators { etag: Some("\"\u{1}\n".into()), last_modified: None };
    assert_eq!(text_of(again(&damaged)).0, "new.example\n");
}

#[test]
fn bodies_come_in_every_shape() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    let list = list_at(&web, &tls);
    let body = |page| {
        web.set(PATH, page);
        text_of(fetch(&list)).0
    };
    assert_eq!(body(Page::text(TEXT)), TEXT);
    let packed = gzip(TEXT.as_bytes());
    assert_eq!(body(Page::answer(200, &[("Content-Encoding", "gzip")], &packed)), TEXT);
    let chunked = [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")];
    let chunks = packed.chunks(7).map(|part| Step::Send(chunk(part)));
    assert_eq!(body(Page::steps(&chunked, chunks.chain([Step::Send(chunk(b""))]))), TEXT);
    // its end is the end of TLS
    assert_eq!(body(Page::steps(&[], [Step::Send(TEXT.into())])), TEXT);
    // a pause is no stall
    let slow = [Step::Send("bad.".into()), Step::Pause(millis(300)), Step::Send("example".into())];
    assert_eq!(body(Page::steps(&[("Content-Length", "11")], slow)), "bad.example");
}

#[test]
fn a_body_that_is_not_whole_is_no_list() {
    let short = [("Content-Length", "100")];
    assert_eq!(fault_with(Page::steps(&short, [Step::Send(TEXT.into())])), Fault::Cut);
    let chunked = [("Transfer-Encoding", "chunked")];
    let open = [Step::Send(chunk(TEXT.as_bytes()))];
    assert_eq!(fault_with(Page::steps(&chunked, open)), Fault::Cut);
    // TCP alone can be cut by anybody
    let cut = [Step::Send(TEXT.into()), Step::Cut];
    assert_eq!(fault_with(Page::steps(&[], cut)), Fault::Cut);
    let packed = gzip(TEXT.as_bytes());
    let packing = [("Content-Encoding", "gzip")];
    let half = Page::answer(200, &packing, &packed[..packed.len() / 2]);
    assert_eq!(fault_with(half), Fault::Garbled);
    assert_eq!(fault_with(Page::answer(200, &packing, TEXT)), Fault::Garbled);
    assert_eq!(fault_with(Page::answer(200, &[("Content-Encoding", "br")], TEXT)), Fault::Packing);
    assert_eq!(fault_with(Page::text("")), Fault::Empty);
    let bad_chunk = [Step::Send(b"zz\r\nbad\r\n".to_vec())];
    let fault = fault_with(Page::steps(&chunked, bad_chunk));
    assert!(matches!(fault, Fault::Http(_) | Fault::Cut), "{fault:?}");
}

#[test]
fn no_body_is_larger_than_allowed() {
    let too_large = Fault::TooLarge(MAX);
    let bomb = gzip(&vec![b'x'; 64 << 20]);
    assert!((bomb.len() as u64) < MAX);
    assert_eq!(fault_with(Page::answer(200, &[("Content-Encoding", "gzip")], bomb)), too_large);
    // not a single octet of it need come
    let length = (MAX + 1).to_string();
    let hang = Page::steps(&[("Content-Length", &length)], [Step::Hang]);
    assert_eq!(fault_with(hang), too_large);
    let endless = Step::Endless(chunk(&[b'\n'; 8192]));
    let chunked = [("Transfer-Encoding", "chunked")];
    assert_eq!(fault_with(Page::steps(&chunked, [endless])), too_large);
    let endless = Step::Endless(vec![b'\n'; 8192]);
    assert_eq!(fault_with(Page::steps(&[], [endless])), too_large);
}

#[test]
fn what_stands_still_or_crawls_is_given_up() {
    let stall = Bounds { stall: millis(300), ..bounds() };
    let stopped = [Step::Send("bad.ex".into()), Step::Hang];
    let page = Page::steps(&[("Content-Length", "100")], stopped);
    assert_eq!(fault_within(page, stall), Fault::Stalled(stall.stall));

    let silent = Bounds { head: millis(300), ..bounds() };
    assert_eq!(fault_within(Page::Raw(vec![Step::Hang]), silent), Fault::NoAnswer(silent.head));
    let half_a_head = vec![Step::Send(b"HTTP/1.1 200 OK\r\nETag".to_vec()), Step::Hang];
    assert_eq!(fault_within(Page::Raw(half_a_head), silent), Fault::NoAnswer(silent.head));

    let not_yet = Page::Raw(vec![Step::Endless(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec())]);
    assert_eq!(fault_within(not_yet, silent), Fault::NoAnswer(silent.head));

    let window = Bounds { window: millis(400), window_octets: 1000, ..bounds() };
    let drip = || [Step::Send("x\n".into()), Step::Pause(millis(20))];
    let page = Page::steps(&[], (0..500).flat_map(|_| drip()));
    let fault = fault_within(page.clone(), window);
    assert!(matches!(fault, Fault::TooSlow(octets, _) if octets < 1000), "{fault:?}");

    let whole = Bounds { whole: millis(500), ..bounds() };
    assert_eq!(fault_within(page, whole), Fault::TooLong(whole.whole));
}

#[test]
fn heads_are_bounded_and_must_be_http() {
    let big = "x".repeat(32 << 10);
    let fault = fault_with(Page::answer(200, &[("X-Big", &big)], TEXT));
    assert!(matches!(fault, Fault::Http(_)), "{fault:?}");
    let names: Vec<String> = (0..500).map(|n| format!("X-{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let fault = fault_with(Page::answer(200, &fields, TEXT));
    assert!(matches!(fault, Fault::Http(_)), "{fault:?}");
    let endless = Page::Raw(vec![
        Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Step::Endless(b"X-More: and more\r\n".to_vec()),
    ]);
    assert!(matches!(fault_with(endless), Fault::Http(_)));
    let garbage = Page::Raw(vec![Step::Send(b"220 mail.example ESMTP\r\n".to_vec())]);
    assert!(matches!(fault_with(garbage), Fault::Http(_)));
    assert!(matches!(fault_with(Page::Raw(vec![])), Fault::Http(_)));
}

#[test]
fn statuses_say_whose_turn_it_is() {
    for code in [204, 206, 300, 400, 401, 403, 404, 410, 451, 500, 502] {
        assert_eq!(fault_with(Page::status(code, &[])), Fault::Status(code));
    }
    assert_eq!(fault_with(Page::answer(304, &[], "")), Fault::Unasked);
    let busy = |code, wait: &str| fault_with(Page::status(code, &[("Retry-After", wait)]));
    assert_eq!(busy(503, "120"), Fault::Busy(503, Some(secs(120))));
    assert_eq!(busy(429, "999999999"), Fault::Busy(429, Some(secs(24 * 3600))));
    assert_eq!(busy(429, "soon"), Fault::Busy(429, None));
    assert_eq!(fault_with(Page::status(503, &[])), Fault::Busy(503, None));
    let failure = |fault| Failure { piece: Piece::List, host: HOST.into(), at: None, fault };
    let asked = failure(Fault::Busy(503, Some(secs(120))));
    assert_eq!(asked.retry_after(), Some(secs(120)));
    assert!(asked.to_string().contains("come again in 120 s"), "{asked}");
    let gone = failure(Fault::Status(404)).to_string();
    assert!(gone.contains(HOST) && gone.contains("correct `url`"), "{gone}");
}

#[test]
fn redirects_are_followed_five_times_and_over_https_only() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    let list = list_at(&web, &tls);
    web.set(PATH, Page::redirect(301, "/secret-1"));
    web.set("/secret-1", Page::redirect(302, &web.url("/a/secret-2")));
    web.set("/a/secret-2", Page::redirect(303, "secret-3"));
    web.set("/a/secret-3", Page::redirect(307, "../secret-4?x=1"));
    web.set("/secret-4?x=1", Page::redirect(308, "/secret-5"));
    web.set("/secret-5", Page::list(TEXT));
    assert_eq!(text_of(fetch(&list)).0, TEXT);
    web.set("/secret-5", Page::redirect(302, "/secret-6"));
    web.set("/secret-6", Page::list(TEXT));
    assert_eq!(fault_of(fetch(&list)), Fault::Redirects);
    web.set(PATH, Page::redirect(302, PATH));
    let before = web.asked().len();
    assert_eq!(fault_of(fetch(&list)), Fault::Redirects);
    assert_eq!(web.asked().len() - before, 6);

    let plain = format!("http://{HOST}:{}/secret-5", web.address.port());
    assert_eq!(fault_with(Page::redirect(301, &plain)), Fault::PlainRedirect);
    assert_eq!(fault_with(Page::redirect(301, "file:///secret")), Fault::PlainRedirect);
    assert_eq!(fault_with(Page::redirect(301, "https://")), Fault::BadRedirect);
    assert_eq!(fault_with(Page::status(302, &[])), Fault::BadRedirect);
}

#[test]
fn another_host_is_looked_up_and_proves_its_own_name() {
    let tls = Tls::new();
    let (web, other) = (Web::start(&tls), Web::showing(&tls, Shown::WrongName));
    other.set(PATH, Page::list(TEXT));
    web.set(PATH, Page::redirect(302, &other.url(PATH)));
    let list = list_at(&web, &tls);
    let names = Names::of(&[OTHER_HOST]);
    let fetched = fetch_with(&list, &Validators::default(), &names, &bounds());
    assert_eq!(text_of(fetched).0, TEXT);
    assert_eq!(names.asked(), [OTHER_HOST]);
    assert_eq!(other.last().field("host"), format!("{OTHER_HOST}:{}", other.address.port()));

    let unknown = fetch(&list).unwrap_err();
    assert_eq!(unknown.host, OTHER_HOST);
    assert_eq!(unknown.fault, Fault::Resolve("the upstream has no such name".into()));
    // the host that was led to shows the first one's certificate
    let there = format!("https://{OTHER_HOST}:{}{PATH}", web.address.port());
    web.set(PATH, Page::redirect(302, &there));
    let fetched = fetch_with(&list, &Validators::default(), &names, &bounds());
    assert_eq!(fault_of(fetched), Fault::Tls(TlsFault::WrongName));
}

#[test]
fn the_resolver_is_asked_where_no_address_is_given() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    web.set(PATH, Page::list(TEXT));
    let list = Download { addresses: Vec::new(), ..list_at(&web, &tls) };
    let names = Names::of(&[HOST]);
    assert_eq!(text_of(fetch_with(&list, &Validators::default(), &names, &bounds())).0, TEXT);
    let failure = fetch(&list).unwrap_err();
    assert!(failure.to_string().contains("`addresses` does without"), "{failure}");
}

#[test]
fn only_the_right_certificate_is_taken() {
    for (shown, fault) in [
        (Shown::WrongName, TlsFault::WrongName),
        (Shown::Expired, TlsFault::Expired),
        (Shown::NotYetValid, TlsFault::NotYetValid),
        (Shown::OtherAuthority, TlsFault::UnknownCa),
    ] {
        let tls = Tls::new();
        let web = Web::showing(&tls, shown);
        let url = format!("https://{HOST}:{}{PATH}", web.address.port());
        let list = Download { url, ..list_at(&web, &tls) };
        assert_eq!(fault_of(fetch(&list)), Fault::Tls(fault));
        assert_eq!(web.asked().len(), 0, "nothing is asked of {shown:?}");
    }
}

#[test]
fn the_next_address_serves_where_one_does_not() {
    let tls = Tls::new();
    let (web, strange) = (Web::start(&tls), Web::showing(&tls, Shown::OtherAuthority));
    let broken = Web::start(&tls);
    web.set(PATH, Page::list(TEXT));
    let half = [Step::Send("bad".into()), Step::Cut];
    broken.set(PATH, Page::steps(&[("Content-Length", "100")], half));
    let dead = free_port(LOCAL);
    let at = |addresses: &[SocketAddr]| {
        fetch(&Download { addresses: addresses.to_vec(), ..list_at(&web, &tls) })
    };
    let all = [dead, strange.address, broken.address, web.address];
    assert_eq!(text_of(at(&all)).0, TEXT);
    assert_eq!((broken.asked().len(), web.asked().len()), (1, 1));
    assert!(matches!(fault_of(at(&[strange.address, dead])), Fault::Connect(_)));
    // what the host itself says holds for all its addresses
    web.set(PATH, Page::status(404, &[]));
    assert_eq!(fault_of(at(&[web.address, broken.address])), Fault::Status(404));
    assert_eq!(broken.asked().len(), 1);
}

#[test]
fn a_checksum_is_that_of_the_list_and_no_other() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    // sha256sum of "abc" (FIPS 180-4)
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let octets: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&sum[2 * i..2 * i + 2], 16).unwrap()).collect();
    web.set(PATH, Page::list("abc"));
    let with = |sum| fetch(&Download { sha256: Some(sum), ..list_at(&web, &tls) });
    let fixed = || Checksum::Fixed(octets.clone().try_into().unwrap());
    let published = || Checksum::At(web.url(SUM_PATH));

    assert_eq!(text_of(with(fixed())).0, "abc", "the sum is that of the octets unpacked");
    web.set(SUM_PATH, Page::text(format!("{sum}  list.txt\n")));
    assert_eq!(text_of(with(published())).0, "abc");

    web.set(PATH, Page::list("abcd"));
    for wanted in [fixed(), published()] {
        let failure = with(wanted).unwrap_err();
        let shown = failure.to_string();
        let found = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589";
        assert!(shown.contains(sum) && shown.contains(found), "{shown}");
        assert!(matches!(failure.fault, Fault::Mismatch(_)));
    }
    web.set(PATH, Page::list("abc"));
    for (page, fault) in [
        (Page::text("no sum here\n"), Fault::NoChecksum),
        (Page::status(404, &[]), Fault::Status(404)),
        (Page::text(vec![b' '; 65 << 10]), Fault::TooLarge(64 << 10)),
    ] {
        web.set(SUM_PATH, page);
        let failure = with(published()).unwrap_err();
        assert_eq!((failure.piece, &failure.fault), (Piece::Checksum, &fault));
        assert!(failure.to_string().starts_with("the checksum of the list: "), "{failure}");
    }
}

#[test]
fn a_version_that_is_known_needs_no_checksum() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    web.set(PATH, Page::list(TEXT));
    let list = list_at(&web, &tls);
    let known = text_of(fetch(&list)).1;
    let list = Download { sha256: Some(Checksum::At(web.url(SUM_PATH))), ..list };
    let again = fetch_with(&list, &known, &Names::default(), &bounds());
    assert_eq!(again, Ok(Fetched::NotModified));
    assert_eq!(web.last().path, PATH);
}

#[test]
fn faults_of_the_operator_are_told_before_anybody_is_asked() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    let good = list_at(&web, &tls);
    let no_roots = Download { ca: Some("/nonexistent/ca.pem".into()), ..good.clone() };
    assert!(matches!(fault_of(fetch(&no_roots)), Fault::Setup(why) if why.contains("ca.pem")));
    let plain = Download { url: format!("http://{HOST}{PATH}"), ..good };
    assert_eq!(fault_of(fetch(&plain)), Fault::Url);
    assert!(!format!("{plain:?}").contains("secret"), "{plain:?}");
    assert_eq!(web.handshakes(), 0);
}

/// A zone of the list at a URL.
fn zone(form: Form, max_rules: usize) -> Source {
    let url = format!("https://{HOST}{PATH}?key=secret");
    let every = Duration::from_secs(3600);
    let download = Download { url, addresses: Vec::new(), ca: None, sha256: None, every };
    Source {
        settings: ZoneSettings {
            name: "list.test".parse().unwrap(),
            mode: Mode::Enforce,
            action: Override::Given,
            recursive_only: false,
            add_soa: true,
            max_ttl: 5,
            ede: None,
            ede_text: "blocked".into(),
            remote: true,
            log: true,
        },
        origin: Origin::Download(download),
        form,
        max_rules,
        care: Care::default(),
    }
}

#[test]
fn lists_become_rules_with_the_time_of_their_change_as_serial() {
    let dated =
        Validators { etag: None, last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()) };
    let rules = |text: &str, form| download::rules(text.as_bytes(), &dated, &zone(form, 10));
    let domains = Form::Domains { subdomains: false };
    let list = rules("# mine\nbad.example\nworse.example\n", domains).unwrap();
    assert_eq!((list.len(), list.soa.serial), (2, 784_111_777));
    let hosts = rules("0.0.0.0 bad.example\n", Form::Hosts { subdomains: false }).unwrap();
    assert_eq!((hosts.len(), hosts.soa.serial), (1, 784_111_777));
    let rpz = "$TTL 60\n@ SOA localhost. root.localhost. 7 3600 600 86400 60\n\
               @ NS localhost.\nbad.example CNAME .\n";
    let rpz = rules(rpz, Form::Zone).unwrap();
    assert_eq!((rpz.len(), rpz.soa.serial), (1, 7));
}

#[test]
fn what_is_no_list_is_refused_by_the_host_that_sent_it() {
    let rules = |text: &str, max| {
        let form = Form::Domains { subdomains: false };
        let fault = download::rules(text.as_bytes(), &Validators::default(), &zone(form, max));
        fault.err().unwrap().to_string()
    };
    let page = rules("<html><body>\nplease log in\n</body></html>\n", 10);
    assert!(page.starts_with(&format!("https://{HOST}/...:1:")), "{page}");
    let many: String = (0..20).map(|n| format!("bad{n}.example\n")).collect();
    let many = rules(&many, 10);
    assert!(many.contains("more than 10 rules"), "{many}");
    assert!(!page.contains("secret") && !many.contains("secret"));
}

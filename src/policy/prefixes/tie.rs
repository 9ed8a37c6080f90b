//! Which of two prefixes wins when one answer hits both.

use ipnet::IpNet;
use std::cmp::Ordering;
use std::net::Ipv6Addr;
use std::ops::Range;

/// Stands for `zz` in [`labels`]: after `ff`, as both have two characters and `z` is the
/// greater one, and before `100`.
const ZEROS: u32 = 2 * 0xff + 1;

/// Which of two prefixes of one zone wins when one answer hits both; `Less` if it is `a`.
/// `Equal` means that they are the same prefix. Host bits do not count.
///
/// The longer one wins (internet-draft dnsop-dns-rpz-00 section 5), where the length of an IPv4
/// prefix counts 96 more. The draft settles a tie by the smallest address; this is BIND's
/// order instead, in which the smaller owner name wins, compared label by label in lower-case
/// wire form (length octet first). Owners hold the address reversed, so that the last octet
/// or word counts most:
///
/// ```text
///   10.8.0.1/32   32.1.0.8.10.rpz-ip   wins
///   10.7.0.9/32   32.9.0.7.10.rpz-ip
/// ```
pub fn precedence(a: &IpNet, b: &IpNet) -> Ordering {
    let whole = |net: &IpNet| match net {
        IpNet::V4(net) => 96 + net.prefix_len(),
        IpNet::V6(net) => net.prefix_len(),
    };
    whole(b).cmp(&whole(a)).then_with(|| match (a, b) {
        // a shorter label is the smaller one: numbers without leading zeros compare as such
        (IpNet::V4(a), IpNet::V4(b)) => {
            let reversed = |octets| u32::from_le_bytes(octets);
            reversed(a.network().octets()).cmp(&reversed(b.network().octets()))
        }
        (IpNet::V6(a), IpNet::V6(b)) => labels(a.network()).cmp(&labels(b.network())),
        // the first label is the length as written: 1 to 32 has fewer digits than 97 to 128
        (IpNet::V4(_), IpNet::V6(_)) => Ordering::Less,
        (IpNet::V6(_), IpNet::V4(_)) => Ordering::Greater,
    })
}

/// The address labels of an owner as numbers that compare as the labels do: twice the word,
/// which leaves room for `zz` between two of them.
///
/// Behind the last one comes `rpz-ip` or the like, which is longer than any word and so the
/// greatest; where one address ends, the one that goes on wins.
fn labels(address: Ipv6Addr) -> [u32; 9] {
    let mut words = address.segments();
    words.reverse();
    let zeros = longest_zero_run(&words);
    let mut out = [u32::MAX; 9];
    let mut free = out.iter_mut();
    for (i, &word) in words.iter().enumerate() {
        let label = match zeros.contains(&i) {
            false => 2 * u32::from(word),
            true if i == zeros.start => ZEROS,
            true => continue,
        };
        if let Some(cell) = free.next() {
            *cell = label;
        }
    }
    out
}

/// The words that an owner has as `zz`: the longest run of two or more that are zero, of
/// equal ones the last as written (here: reversed).
fn longest_zero_run(words: &[u16; 8]) -> Range<usize> {
    let mut longest = 0..0;
    let mut run = 0..0;
    for (i, &word) in words.iter().enumerate() {
        run = if word == 0 { run.start..i + 1 } else { i + 1..i + 1 };
        if run.len() >= longest.len().max(2) {
            longest = run.clone();
        }
    }
    longest
}

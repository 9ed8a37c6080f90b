//! Images out and in, whole and damaged.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::*;
use crate::policy::action::Action;
use crate::policy::rules::{NameRules, Skipped};
use crate::rpz::{Dump, made_up};
use crate::zones::{Difference, Download, Primary, Transfer};

const CAME: u64 = 1_795_305_599_999;
const MAX: usize = 10_000_000;

fn zone() -> Name {
    made_up::ZONE.parse().unwrap()
}

fn contact() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn identity() -> Identity {
    Identity {
        kind: SourceKind::Download,
        form: Form::Domains { subdomains: true },
        place: [7; 32],
    }
}

fn saved(rules: &ZoneRules) -> Saved<'_> {
    Saved { rules, identity: identity(), came: CAME, contact: contact() }
}

fn image(rules: &ZoneRules) -> Vec<u8> {
    let mut out = Vec::new();
    form::write(&saved(rules), &mut out).unwrap();
    out
}

/// The checksum at the end set right.
fn sealed(mut image: Vec<u8>) -> Vec<u8> {
    let body = image.len() - 4;
    let sum = crc32fast::hash(&image[..body]);
    image[body..].copy_from_slice(&sum.to_le_bytes());
    image
}

/// Everything of the rules that an image keeps.
fn told(rules: ZoneRules) -> (String, Vec<u8>) {
    let Skipped { total, unused, first } = rules.skipped.clone();
    let first = &first[..first.len().min(limits::SAVED_REASONS)];
    let rest = format!(
        "{} {:?} {:?} {:?} {total} {unused} {first:?}",
        rules.origin, rules.soa, rules.counts, rules.prefixes
    );
    (rest, Dump::new(rules.into()).flatten().collect())
}

#[test]
fn what_is_saved_is_loaded() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("zones");
    assert!(load(&folder, &zone(), MAX).unwrap().is_none(), "nothing was saved");
    let mut rng = fastrand::Rng::with_seed(31);
    for round in 0..150 {
        let text = made_up::text(&mut rng, if round % 50 == 0 { 4_000 } else { 60 });
        for rules in [made_up::listed(&text), made_up::gathered(&text)] {
            save(&folder, &saved(&rules)).unwrap();
            let loaded = load(&folder, &zone(), rules.len()).unwrap().unwrap();
            assert_eq!((loaded.identity, loaded.came), (identity(), CAME));
            assert_eq!(loaded.contact, contact());
            assert_eq!(image(&loaded.rules), image(&rules), "the same octets again");
            assert!(Difference::between(&rules, &loaded.rules).is_empty());
            let kept = matches!(loaded.rules.names, NameRules::Kept(_));
            assert_eq!(kept, matches!(rules.names, NameRules::Kept(_)));
            assert_eq!(told(loaded.rules), told(rules), "{text}");
        }
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn every_flipped_octet_and_every_cut_is_noticed() {
    let mut rng = fastrand::Rng::with_seed(37);
    let text = made_up::text(&mut rng, 40);
    for rules in [made_up::listed(&text), made_up::gathered(&text)] {
        let good = image(&rules);
        assert!(read(&good, &zone(), MAX).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << rng.u8(..8);
            assert!(read(&bad, &zone(), MAX).is_err(), "octet {at}");
            bad[at] = !good[at];
            assert!(read(&bad, &zone(), MAX).is_err(), "octet {at}");
            assert!(read(&good[..at], &zone(), MAX).is_err(), "cut at {at}");
        }
        let longer = [&good[..], b"x"].concat();
        assert!(read(&longer, &zone(), MAX).is_err());
    }
}

#[test]
fn damage_that_the_checksum_allows_does_no_harm() {
    let mut rng = fastrand::Rng::with_seed(41);
    let text = made_up::text(&mut rng, 30);
    for rules in [made_up::listed(&text), made_up::gathered(&text)] {
        let good = image(&rules);
        for at in 0..good.len() - 4 {
            for value in [good[at] ^ 1 << rng.u8(..8), !good[at], 0, 1, 0x3f, 0x40, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(loaded) = read(&sealed(bad), &zone(), MAX) {
                    assert_eq!(loaded.counts.total(), loaded.len() as u64);
                    let sets = loaded.data.len();
                    let stray = |code: crate::policy::action::ActionCode| match code.action() {
                        Action::Data(number) => number as usize >= sets,
                        _ => false,
                    };
                    assert!(!loaded.codes().any(stray), "octet {at}");
                    let _ = told(loaded);
                }
            }
            let mut cut = good[..at].to_vec();
            cut.extend([0; 4]);
            assert!(read(&sealed(cut), &zone(), MAX).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn faults_name_the_file_and_what_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let rules = made_up::gathered(&made_up::text(&mut fastrand::Rng::with_seed(43), 40));
    save(home.path(), &saved(&rules)).unwrap();
    let path = path_of(home.path(), &zone());
    let good = std::fs::read(&path).unwrap();
    let fault = |octets: &[u8], max: usize| {
        std::fs::write(&path, octets).unwrap();
        let fault = load(home.path(), &zone(), max).unwrap_err();
        let told = fault.to_string();
        assert!(told.starts_with(&format!("{}: ", path.display())), "{told}");
        assert!(path.exists(), "what to do with it is the caller's business");
        (fault.is_damage(), told)
    };
    let with = |at: usize, octet: u8| {
        let mut bad = good.clone();
        bad[at] = octet;
        sealed(bad)
    };
    let mut other = made_up::listed(&made_up::text(&mut fastrand::Rng::with_seed(2), 5));
    other.origin = "other.test".parse().unwrap();
    let other = image(&other);
    for (octets, max, damage, part) in [
        (
            with(8, 9),
            MAX,
            true,
            "is written in format 9, but this version of Culvert reads format 1",
        ),
        (with(8, 0), MAX, true, "is written in format 0"),
        (b"$TTL 60\n@ SOA . .".to_vec(), MAX, true, "is no file of Culvert's"),
        (Vec::new(), MAX, true, "is damaged: it is cut short"),
        (good[..good.len() / 2].to_vec(), MAX, true, "is damaged: it is cut short"),
        (other, MAX, true, "is that of other.test"),
        (good.clone(), rules.len() - 1, false, "raise its limit"),
        ([&good[..], b"x"].concat(), MAX, true, "is damaged: there is more behind its end"),
    ] {
        let (is_damage, told) = fault(&octets, max);
        assert!(is_damage == damage && told.contains(part), "{told}");
    }
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert!(fault(&bad, MAX).1.contains("checksum"), "{}", fault(&bad, MAX).1);

    let aside = set_aside(&path).unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), bad);
    assert!(load(home.path(), &zone(), MAX).unwrap().is_none());
    std::fs::create_dir(&path).unwrap();
    let fault = load(home.path(), &zone(), MAX).unwrap_err();
    assert!(fault.to_string().contains("no file of Culvert's"), "{fault}");
}

#[test]
fn what_cannot_be_saved_leaves_what_was() {
    let home = tempfile::tempdir().unwrap();
    let taken = home.path().join("taken");
    std::fs::write(&taken, "").unwrap();
    let rules = ZoneRules::none(zone());
    let fault = save(&taken, &saved(&rules)).unwrap_err().to_string();
    assert!(fault.contains("taken/rpz.test.zone: the zone cannot be saved: "), "{fault}");
    assert!(load(&taken, &zone(), MAX).unwrap().is_none(), "it is no folder");
    // what the system says is told with its cure
    for (code, part) in [
        (28, "the disk is full; free some space"),
        (122, "quota"),
        (30, "read-only"),
        (13, "the user that Culvert runs as"),
        (5, "Input/output error"),
    ] {
        let error = std::io::Error::from_raw_os_error(code);
        let told = SaveError { path: taken.clone(), error }.to_string();
        assert!(told.contains(part), "{told}");
    }
    // leftovers of a crash go when the zone is loaded
    let folder = home.path().join("zones");
    save(&folder, &saved(&made_up::listed(&made_up::text(&mut fastrand::Rng::new(), 5)))).unwrap();
    let left = folder.join("rpz.test.zone.new");
    std::fs::write(&left, "half of i").unwrap();
    assert!(load(&folder, &zone(), MAX).unwrap().is_some());
    assert!(!left.exists());
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o027, 0);
}

#[test]
fn another_source_is_noticed_and_other_primaries_are_not() {
    let download = |url: &str, form: Form| {
        let origin = Origin::Download(Download {
            url: url.to_owned(),
            addresses: Vec::new(),
            ca: None,
            sha256: None,
            every: Duration::from_secs(60),
        });
        Identity::of(&origin, form)
    };
    let transfer = |primary: &str| {
        let address = primary.parse().unwrap();
        let primaries = vec![Primary { address, tls_name: None }];
        let transfer = Transfer { primaries, key: None, notify_from: Vec::new(), ca: None };
        Identity::of(&Origin::Transfer(transfer), Form::Zone)
    };
    let form = Form::Hosts { subdomains: false };
    let list = download("https://lists.test/secret/a", form);
    assert_eq!(list, download("https://lists.test/secret/a", form));
    assert_ne!(list, download("https://lists.test/secret/b", form));
    assert_ne!(list, download("https://lists.test/secret/a", Form::Hosts { subdomains: true }));
    assert_eq!(transfer("192.0.2.1:53"), transfer("192.0.2.2:53"));
    assert_ne!(transfer("192.0.2.1:53"), list);
    for identity in [list, transfer("192.0.2.1:53"), identity()] {
        assert_eq!(Identity::from_octets(&identity.octets()), Some(identity));
    }
    let rules = made_up::listed(&made_up::text(&mut fastrand::Rng::with_seed(1), 5));
    let mut out = Vec::new();
    form::write(&Saved { identity: list, ..saved(&rules) }, &mut out).unwrap();
    assert!(!out.windows(6).any(|part| part == b"secret"), "a URL may be a secret");
}

/// Images that other builds have written. If this fails, the form or the hash that places owners
/// in buckets has changed: give the form another version.
#[test]
fn images_of_this_version_stay_readable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/image");
    let (mut rules, mut most) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let image = std::fs::read(&path).unwrap();
        let loaded = read(&image, &zone(), 500).unwrap_or_else(|e| panic!("{path:?}: {e:?}"));
        rules += loaded.len();
        most = most.max(loaded.records().map_or(0, |store| store.buckets().len()));
    }
    assert!(rules > 300 && most > 1, "{rules} rules, {most} buckets");
}

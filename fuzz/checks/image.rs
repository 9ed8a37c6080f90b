//! A saved zone: whatever its octets, it is refused or gives rules that everything else can work
//! with.

use std::sync::Arc;

use culvert::dns::name::Name;
use culvert::policy::oracle::agreement;
use culvert::rpz::{Dump, audit};
use culvert::zones::{Difference, saved};

/// Checks one input. Its checksum is set right, so that what is behind it is reached.
pub fn check(octets: &[u8]) {
    let Some((body, _)) = octets.split_last_chunk::<4>() else { return };
    let image = [body, &crc32fast::hash(body).to_le_bytes()].concat();
    let zone: Name = "rpz.test".parse().expect("a name");
    let Ok(rules) = saved::read(&image, &zone, 500) else { return };
    assert!(rules.len() <= 500);
    assert_eq!(rules.counts.total(), rules.len() as u64);
    if let Err(difference) = agreement::of_zone(&rules) {
        panic!("{difference}");
    }
    serde_json::to_string(&audit(&rules)).expect("an audit can be written");
    assert!(Difference::between(&rules, &rules).is_empty());
    let text: Vec<u8> = Dump::new(Arc::new(rules)).flatten().collect();
    assert!(text.is_ascii());
}

//! Policy zones at the doors: what can be asked about one, the replies, and their words.
//!
//! ```text
//!   culvert zones, zone show ─► Zones, Zone(show) ─► Operator ─► JSON ─► words
//!   culvert zone refresh ...  ─► Zone(ask) ────────►    "    ─► {"ok"} or {"error"}
//!   culvert zone dump ────────► ZoneDump ──────────►    "    ─► one JSON line, then text (dump)
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Operator;
use super::control::{or_error, said};
use crate::clock;
use crate::dns::name::Name;

pub mod dump;
pub mod words;

/// Text of a zone in whole lines, a piece at a time; each piece is made when it is asked for.
pub type ZoneText = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// What is asked about one zone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Everything about its state.
    Show,
    /// Bring it up to date.
    Refresh(Refresh),
    /// What its held version would change.
    Diff,
    /// Let its held version take effect.
    Accept,
    /// Let a zone that only watches act.
    Promote,
    /// What a zone that only watches would have done.
    Report,
}

/// How a zone is brought up to date.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Refresh {
    /// Its source is asked for a newer version, and that is fetched if there is one.
    Check,
    /// It is fetched as a whole, whatever its serial.
    Whole,
    /// Its file is read again; a zone from elsewhere is asked, as by `Check`.
    Reload,
}

/// All zones, and the time by which the times in there are to be read.
pub(super) fn list(operator: &dyn Operator) -> Value {
    json!({ "now": clock::rfc3339(clock::wall_millis()), "zones": operator.zones() })
}

/// The reply to a question about one zone; `by` is who asks.
pub(super) async fn answer(operator: &dyn Operator, zone: &str, ask: Ask, by: &str) -> Value {
    let zone: Name = match zone.parse() {
        Ok(zone) => zone,
        Err(e) => return json!({ "error": format!("{zone}: {e}") }),
    };
    match ask {
        Ask::Show => {
            or_error(operator.zone_status(&zone).map(
                |status| json!({ "now": clock::rfc3339(clock::wall_millis()), "zone": status }),
            ))
        }
        Ask::Refresh(how) => said(operator.zone_refresh(&zone, how, by).await),
        Ask::Diff => or_error(operator.zone_diff(&zone).await),
        Ask::Accept => said(operator.zone_accept(&zone, by).await),
        Ask::Promote => said(operator.zone_promote(&zone, by).await),
        Ask::Report => or_error(operator.zone_report(&zone)),
    }
}

/// The rules of a zone as text.
pub(super) fn text(operator: &dyn Operator, zone: &str) -> Result<ZoneText, String> {
    let name = zone.parse().map_err(|e| format!("{zone}: {e}"))?;
    operator.zone_dump(&name)
}

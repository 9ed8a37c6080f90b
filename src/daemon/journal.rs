//! The daemon's own log lines, and what is said of a panic.

use std::fmt;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;

/// Lines that wait to be written.
const LINES: usize = 4096;

/// Starts writing log lines to standard error, `info` and above. Under systemd every line gets
/// a priority in front (sd-daemon(3)), elsewhere the time. Lines are written by a thread of their
/// own and are lost, not waited for, while nobody reads them. What is left when the guard is
/// dropped is written then.
#[must_use]
pub fn begin() -> Option<WorkerGuard> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .finish(File::from(stderr));
    let lines = Lines { journal: std::env::var_os("JOURNAL_STREAM").is_some() };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .event_format(lines)
        .finish();
    // fails only if there is one already, in tests
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        // the message may hold a name that somebody asked for: only the place is told
        let place =
            panic.location().map_or_else(String::new, |l| format!("{}:{}", l.file(), l.line()));
        tracing::error!("internal fault (a panic) at {place}; please report it");
    }));
    Some(guard)
}

struct Lines {
    journal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = *event.metadata().level();
        for line in text.0.lines() {
            if self.journal {
                write!(writer, "<{}>", priority(level))?;
            } else {
                write!(writer, "{} {level:<5} ", clock::rfc3339(clock::wall_millis()))?;
            }
            let safe = line.chars().map(|c| if c.is_control() { '?' } else { c });
            writeln!(writer, "{}", safe.collect::<String>())?;
        }
        Ok(())
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The message of an event; other fields behind it as `name=value`.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        // writing to a String cannot fail
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

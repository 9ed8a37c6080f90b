//! The daemon's own log lines, and what is said of a panic.
//!
//! Under systemd's journal each line is an entry with fields, which docs/JOURNAL.md lists: those
//! of the tracing event in capitals behind `CULVERT_`. Elsewhere the text alone is written.

use std::fmt;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::sys::journal::{Entry, Journal};

/// Lines that wait to be written.
const LINES: usize = 4096;

/// Starts writing log lines, `info` and above: to the journal, if standard error leads there, else
/// to standard error. There every line gets the time in front, or a priority (sd-daemon(3)) if
/// only the journal's own socket cannot be reached. Lines are written by a thread of their
/// own and are lost, not waited for, while nobody reads them. What is left when the guard is
/// dropped is written then.
#[must_use]
pub fn begin() -> Option<WorkerGuard> {
    let guard = match Journal::of_stderr() {
        Some(journal) => {
            let (writer, guard) = in_background(journal);
            let entries = Entries { writer }.with_filter(LevelFilter::INFO);
            // fails only if there is one already, in tests; below too
            let subscriber = tracing_subscriber::registry().with(entries);
            let _ = tracing::subscriber::set_global_default(subscriber);
            guard
        }
        None => lines_on_stderr()?,
    };
    std::panic::set_hook(Box::new(|panic| {
        // the message may hold a name that somebody asked for: only the place is told
        let place =
            panic.location().map_or_else(String::new, |l| format!("{}:{}", l.file(), l.line()));
        tracing::error!(event = "panic", "internal fault (a panic) at {place}; please report it");
    }));
    Some(guard)
}

fn in_background(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).finish(to)
}

fn lines_on_stderr() -> Option<WorkerGuard> {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
    let (writer, guard) = in_background(File::from(stderr));
    let lines = Lines { journal: std::env::var_os("JOURNAL_STREAM").is_some() };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .event_format(lines)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
    Some(guard)
}

/// Writes events as entries of the journal.
struct Entries {
    writer: NonBlocking,
}

impl<S: Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let mut entry = Entry::new(priority(*event.metadata().level()), &parts.message);
        for (name, value) in &parts.fields {
            entry.field(&format!("CULVERT_{}", name.to_uppercase()), value);
        }
        // it is lossy by intent: what does not fit is not waited for
        let _ = self.writer.clone().write_all(entry.as_bytes());
    }
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
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let level = *event.metadata().level();
        for line in parts.message.lines() {
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

/// The message of an event, and its other fields, which are for the journal only.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

//! The control socket: one line of JSON in, one line of JSON out; behind it the text of a zone, if
//! that was asked for.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::zones::{self, ZoneText, dump};
use super::{Operator, Request, owner};
use crate::limits;
use crate::sys::accounts;

/// Longest request in octets: a name and a command.
const REQUEST: u64 = 4096;

/// A bound socket; its file is removed when it is dropped.
pub struct Socket {
    listener: UnixListener,
    path: std::path::PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // another relay may have taken the path meanwhile; then there is nothing to do either
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds the socket, readable and writable for owner and group. A socket that nobody answers on
/// is replaced; one in use is an error, and so is anything that is no socket. `group` becomes the
/// socket's group if this host has it; one that may not be given is a warning.
pub async fn bind(path: &Path, group: Option<&str>) -> io::Result<Socket> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            if UnixStream::connect(path).await.is_ok() {
                let text = "another relay answers on this control socket";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            std::fs::remove_file(path)?;
        }
        Ok(_) => {
            let text = "there is a file in the place of the control socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Err(_) => {}
    }
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        std::fs::create_dir(folder)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    if let Some(group) = group {
        give_to(path, group);
    }
    Ok(Socket { listener, path: path.to_owned() })
}

/// A relay that only its own user can command is better than none.
fn give_to(path: &Path, group: &str) {
    let Some(id) = accounts::group_id(group) else { return };
    // a folder with the set-group-ID bit has done it, and a sandbox may forbid chown
    if std::fs::metadata(path).is_ok_and(|meta| meta.gid() == id) {
        return;
    }
    if let Err(e) = std::os::unix::fs::lchown(path, None, Some(id)) {
        tracing::warn!(
            "the control socket cannot be given to the group {group} (server.control_group): {e}; \
             run the relay as root or as a member of it (SupplementaryGroups={group})"
        );
    }
}

/// Serves commands until dropped.
pub async fn serve(socket: Socket, operator: Arc<dyn Operator>) {
    let places = Arc::new(Semaphore::new(limits::CONTROL_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.listener.accept().await {
            Ok((stream, _)) => {
                let operator = Arc::clone(&operator);
                tokio::spawn(async move {
                    // a client that breaks off has nobody to tell
                    let _ = timeout(limits::DUMP_DEADLINE, answer(stream, &*operator)).await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!("control socket: {e}");
                tokio::time::sleep(limits::ACCEPT_BACK_OFF).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, operator: &dyn Operator) -> io::Result<()> {
    let (mut stream, mut line) = (stream, String::new());
    let mut reader = BufReader::new((&mut stream).take(REQUEST));
    timeout(limits::CONTROL_DEADLINE, reader.read_line(&mut line)).await??;
    let (reply, zone) = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let deadline = request.deadline();
            timeout(deadline, execute(request, operator, &stream)).await?
        }
        Err(e) => (json!({ "error": format!("the command cannot be read: {e}") }), None),
    };
    let mut text = reply.to_string();
    text.push('\n');
    timeout(limits::CONTROL_DEADLINE, stream.write_all(text.as_bytes())).await??;
    if let Some(zone) = zone {
        dump::send(&mut stream, zone).await?;
    }
    stream.shutdown().await
}

/// The reply, and the text that follows it.
async fn execute(
    request: Request,
    operator: &dyn Operator,
    from: &UnixStream,
) -> (Value, Option<ZoneText>) {
    let owner = |sudo_user: Option<String>| owner::of(from, sudo_user.as_deref());
    let reply = match request {
        Request::Status => status_json(operator),
        Request::Reload => said(operator.reload().await),
        Request::LogQueries { on } => {
            operator.log_queries(on);
            json!({ "ok": if on { "query log is on" } else { "query log is off" } })
        }
        Request::CacheFlush { name, subtree } => match name.parse() {
            Ok(name) => json!({ "flushed": operator.flush(&name, subtree) }),
            Err(e) => json!({ "error": format!("{name}: {e}") }),
        },
        Request::CacheShow { name } => match name.parse() {
            Ok(name) => to_json(&operator.show(&name)),
            Err(e) => json!({ "error": format!("{name}: {e}") }),
        },
        Request::Explain(explain) => match explain.asking() {
            Ok(asking) => match operator.explain(asking).await {
                Ok(explanation) => to_json(&explanation),
                Err(text) => json!({ "error": text }),
            },
            Err(text) => json!({ "error": text }),
        },
        Request::Probe => to_json(&operator.probe().await),
        Request::Exceptions => json!({ "exceptions": operator.exceptions() }),
        Request::Except { wish, sudo_user } => {
            or_error(operator.except(wish, owner(sudo_user)).await)
        }
        Request::Unexcept { ids, sudo_user } => {
            or_error(operator.unexcept(ids, owner(sudo_user)).await)
        }
        Request::Suspend { millis, reason, sudo_user } => {
            let suspended = operator.suspend(millis, &reason, &owner(sudo_user));
            or_error(suspended.map(|(now, old)| json!({ "suspended": now, "replaced": old })))
        }
        Request::Resume { sudo_user } => json!({ "ended": operator.resume(&owner(sudo_user)) }),
        Request::Zones => zones::list(operator),
        Request::Zone { zone, ask, sudo_user } => {
            zones::answer(operator, &zone, ask, &owner(sudo_user)).await
        }
        Request::ZoneDump { zone } => match zones::text(operator, &zone) {
            Ok(text) => return (json!({ "ok": "the text follows" }), Some(text)),
            Err(text) => json!({ "error": text }),
        },
    };
    (reply, None)
}

/// Status with its counters as one object.
pub(super) fn status_json(operator: &dyn Operator) -> Value {
    let status = operator.status();
    let mut value = to_json(&status);
    let queries = status.queries.iter().map(|(name, n)| ((*name).to_owned(), json!(n)));
    value["queries"] = Value::Object(queries.collect());
    value
}

/// The reply of a command that says what came of it.
pub(super) fn said(outcome: Result<String, String>) -> Value {
    match outcome {
        Ok(text) => json!({ "ok": text }),
        Err(text) => json!({ "error": text }),
    }
}

pub(super) fn or_error(outcome: Result<impl Serialize, String>) -> Value {
    outcome.map_or_else(|text| json!({ "error": text }), |value| to_json(&value))
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value)
        .unwrap_or_else(|e| json!({ "error": format!("the answer cannot be written: {e}") }))
}

/// The client's side: sends a command, waits for the reply.
pub async fn ask(path: &Path, request: &Request) -> Result<Value, String> {
    let talk = async {
        let stream = send(path, request).await?;
        let mut reply = String::new();
        let reading = stream.take(limits::CONTROL_MESSAGE as u64).read_to_string(&mut reply).await;
        reading.map_err(|e| cannot(path, &e))?;
        Ok::<_, String>(reply)
    };
    let reply = timeout(request.deadline(), talk)
        .await
        .map_err(|_| format!("{}: the relay did not reply in time", path.display()))??;
    serde_json::from_str(&reply).map_err(|_| "the relay's reply cannot be read".to_owned())
}

/// Sends a command; the reply comes on the stream.
pub(super) async fn send(path: &Path, request: &Request) -> Result<UnixStream, String> {
    let sending = async {
        let mut stream = UnixStream::connect(path).await?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes()).await?;
        Ok(stream)
    };
    sending.await.map_err(|e| cannot(path, &e))
}

fn cannot(path: &Path, error: &io::Error) -> String {
    // the socket's group, or that of a folder that does not let us see it
    let seen =
        std::fs::metadata(path).or_else(|_| std::fs::metadata(path.parent().unwrap_or(path)));
    let group = seen.ok().and_then(|meta| accounts::group_name(meta.gid()));
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("{path}: no relay answers here; is it running? See: systemctl status culvert")
        }
        io::ErrorKind::PermissionDenied => {
            // root's own group is for nobody else
            match group.filter(|group| group != "root") {
                Some(group) => format!(
                    "{path}: not permitted; you are not in the group {group}: sudo usermod -aG \
                     {group} $USER, and log in again; or use sudo"
                ),
                None => format!("{path}: not permitted; use sudo"),
            }
        }
        _ => format!("{path}: {error}"),
    }
}

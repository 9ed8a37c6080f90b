//! The control socket: one line of JSON in, one line of JSON out.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Operator, Request, owner};
use crate::limits;

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
/// is replaced; one in use is an error, and so is anything that is no socket.
pub async fn bind(path: &Path) -> io::Result<Socket> {
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
    Ok(Socket { listener, path: path.to_owned() })
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
                    let _ = timeout(limits::CONTROL_DEADLINE, answer(stream, &*operator)).await;
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
    BufReader::new((&mut stream).take(REQUEST)).read_line(&mut line).await?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => execute(request, operator, &stream).await,
        Err(e) => json!({ "error": format!("the command cannot be read: {e}") }),
    };
    let mut text = reply.to_string();
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

async fn execute(request: Request, operator: &dyn Operator, from: &UnixStream) -> Value {
    let owner = |sudo_user: Option<String>| owner::of(from, sudo_user.as_deref());
    match request {
        Request::Status => status_json(operator),
        Request::Reload => match operator.reload().await {
            Ok(text) => json!({ "ok": text }),
            Err(text) => json!({ "error": text }),
        },
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
    }
}

/// Status with its counters as one object.
pub(super) fn status_json(operator: &dyn Operator) -> Value {
    let status = operator.status();
    let mut value = to_json(&status);
    let queries = status.queries.iter().map(|(name, n)| ((*name).to_owned(), json!(n)));
    value["queries"] = Value::Object(queries.collect());
    value
}

fn or_error(outcome: Result<impl Serialize, String>) -> Value {
    outcome.map_or_else(|text| json!({ "error": text }), |value| to_json(&value))
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value)
        .unwrap_or_else(|e| json!({ "error": format!("the answer cannot be written: {e}") }))
}

/// The client's side: sends a command, waits for the reply.
pub async fn ask(path: &Path, request: &Request) -> Result<Value, String> {
    let cannot = |e: io::Error| {
        let path = path.display();
        match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("{path}: no relay answers here; is it running? (culvert run)")
            }
            io::ErrorKind::PermissionDenied => {
                format!("{path}: not permitted; run as root or as a member of its group")
            }
            _ => format!("{path}: {e}"),
        }
    };
    let talk = async {
        let mut stream = UnixStream::connect(path).await?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes()).await?;
        let mut reply = String::new();
        stream.take(limits::CONTROL_MESSAGE as u64).read_to_string(&mut reply).await?;
        Ok(reply)
    };
    let reply = timeout(limits::CONTROL_DEADLINE, talk)
        .await
        .map_err(|_| format!("{}: the relay did not reply in time", path.display()))?
        .map_err(cannot)?;
    serde_json::from_str(&reply).map_err(|_| "the relay's reply cannot be read".to_owned())
}

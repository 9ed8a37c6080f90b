//! Child processes that end with their handle, and ports that nobody else has.

use super::{eventually, secs};
use std::collections::HashSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// 127.0.0.1.
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A port that is free for UDP and TCP on `ip`, never given out twice by this test run.
///
/// Ports come from below the range that the kernel takes for outgoing connections, so that no
/// connection can slip into one between this look and the server's own bind.
pub fn free_port(ip: IpAddr) -> SocketAddr {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(|e| e.into_inner());
    let given = given.get_or_insert_default();
    let start = std::process::id() as u16;
    for step in 0..20_000u16 {
        let port = 11_000 + start.wrapping_mul(37).wrapping_add(step) % 20_000;
        let address = SocketAddr::new(ip, port);
        let free = !given.contains(&port)
            && UdpSocket::bind(address).is_ok()
            && TcpListener::bind(address).is_ok();
        if free {
            given.insert(port);
            return address;
        }
    }
    panic!("no free port on {ip}");
}

/// Binds a port that [`free_port`] gave. A child that is being started holds copies of this
/// process's sockets until it runs its own program, so the port may be taken for a moment.
#[track_caller]
pub fn bound<T>(bind: impl Fn() -> std::io::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match bind() {
            Ok(socket) => return socket,
            Err(e) if start.elapsed() > Duration::from_secs(2) => panic!("a free port: {e}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// 127.0.0.`last`: the loopback network has room for as many servers as a test wants.
pub fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// A server that runs in the foreground, with its output in a file.
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Process {
    /// Starts `command`; output goes to `folder/NAME.log` unless `set` sends it elsewhere. The
    /// kernel ends the child if this thread dies without dropping the handle.
    pub fn start(name: &str, program: &Path, folder: &Path, set: impl Fn(&mut Command)) -> Process {
        let output = folder.join(format!("{name}.log"));
        let log = File::create(&output).expect("the log file is created");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the log file is shared")).stderr(log);
        set(&mut command);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Process { child, name: name.to_owned(), output }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the process wrote so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Sends a signal by name: TERM, HUP, STOP, CONT, KILL.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "no signal {name} to {}", self.name);
    }

    /// Resident memory in octets.
    pub fn memory(&self) -> u64 {
        self.memory_line("VmRSS:")
    }

    /// The most resident memory in octets since the start, or since [`Process::forget_peak`].
    pub fn peak_memory(&self) -> u64 {
        self.memory_line("VmHWM:")
    }

    /// From here on the peak is that of what comes.
    pub fn forget_peak(&self) {
        // proc(5): 5 resets the high water mark
        let file = format!("/proc/{}/clear_refs", self.id());
        std::fs::write(file, "5").expect("the process is there, and ours");
    }

    fn memory_line(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the process is there");
        let line = status.lines().find_map(|l| l.strip_prefix(name)).expect("a line of memory");
        let kib = line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok());
        kib.expect("a number") * 1024
    }

    /// Open file descriptors.
    pub fn open_files(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        folder.expect("the process is there").count()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// The exit status, which has to come within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        eventually(&format!("{} ends", self.name), limit, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("set above")
    }

    /// Waits until something accepts TCP connections at `address`.
    #[track_caller]
    pub fn until_connects(&mut self, address: SocketAddr) {
        let limit = Instant::now() + secs(15);
        while TcpStream::connect_timeout(&address, secs(1)).is_err() {
            let dead = !self.is_running();
            let late = Instant::now() > limit;
            assert!(!dead && !late, "{} is not there:\n{}", self.name, self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.output();
            let from = text.len().saturating_sub(6000);
            let tail = String::from_utf8_lossy(&text.as_bytes()[from..]);
            eprintln!("---- {} wrote:\n{tail}\n----", self.name);
        }
    }
}

/// Runs a short command to its end, which has to come within `limit`.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let readers = [
        std::thread::spawn(move || read_all(out.as_mut().expect("piped"))),
        std::thread::spawn(move || read_all(err.as_mut().expect("piped"))),
    ];
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} took longer than {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = readers.map(|r| r.join().expect("a reader ends"));
    Output { status, stdout, stderr }
}

fn read_all(from: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    bytes
}

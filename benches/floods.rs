//! What is left of the exchange rate, and of the memory, while others do their worst: thousands of readers that read nothing, and sign-ins of people who do not exist.
//!
//! The server is a process of its own, with SQLite. It talks to 127.0.0.1 alone, for about two minutes, and then exits.
//!
//! ```sh
//! cargo bench --bench floods
//! ```
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "a benchmark fails by panicking, and reads the clock")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const LASTING: Duration = Duration::from_secs(5);
const EXCHANGES_AT_ONCE: usize = 16;
const SLOW_READERS: usize = 5_000;
const SIGN_INS_AT_ONCE: usize = 200;
const ROUNDS: usize = 3;

struct Server {
    child: Child,
    address: String,
    exchange: String,
}

impl Server {
    fn start(settings: &[(&str, &str)]) -> (Self, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hourpass"));
        command.current_dir(folder.path()).env("HOURPASS_SERVER__PORT", "0").env("HOURPASS_LOG__FILTER", "warn").envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("listening on http://").map(|found| found.1.to_owned())).unwrap();
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        let mut stdout = child.stdout.take().unwrap();
        let mut shown = String::new();
        while !shown.contains("Or sign in") {
            let mut part = [0; 4_096];
            let read = stdout.read(&mut part).unwrap();
            shown.push_str(str::from_utf8(&part[..read]).unwrap());
        }
        let key = shown.lines().find_map(|line| line.trim().strip_prefix("API key")).unwrap().trim();
        let exchange = login(&format!("password={key}"));
        (Self { child, address, exchange }, folder)
    }

    /// Resident memory in MB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
    }

    async fn exchanges(&self) -> f64 {
        let started = Instant::now();
        let count = load(&self.address, EXCHANGES_AT_ONCE, LASTING, None, {
            let exchange = self.exchange.clone();
            move |_| exchange.clone()
        })
        .await;
        rate(count, started)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn login(form: &str) -> String {
    format!("POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}", form.len())
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests is small")]
fn rate(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Sends requests on so many connections, one after the other on each, at most so many a second in all. Returns how many were answered.
async fn load(
    address: &str,
    connections: usize,
    lasting: Duration,
    most: Option<f64>,
    request: impl Fn(usize) -> String + Clone + Send + 'static,
) -> usize {
    let (started, number) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (address, request, number) = (address.to_owned(), request.clone(), Arc::clone(&number));
        clients.spawn(async move {
            let mut stream = BufStream::new(TcpStream::connect(&address).await.unwrap());
            let mut count = 0;
            while started.elapsed() < lasting {
                let next = number.fetch_add(1, Ordering::Relaxed);
                if let Some(most) = most {
                    #[expect(clippy::cast_precision_loss, reason = "a count of requests is small")]
                    let due = Duration::from_secs_f64(next as f64 / most);
                    tokio::time::sleep_until((started + due).into()).await;
                }
                stream.write_all(request(next).as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                let (mut length, mut line) = (0, String::new());
                while line != "\r\n" {
                    line.clear();
                    assert!(stream.read_line(&mut line).await.unwrap() > 0, "the connection was closed");
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                count += 1;
            }
            count
        });
    }
    clients.join_all().await.into_iter().sum()
}

#[tokio::main]
async fn main() {
    slow_readers().await;
    sign_ins().await;
}

async fn slow_readers() {
    let (server, _folder) = Server::start(&[("HOURPASS_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "0")]);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).unwrap();
    server.exchanges().await;
    let (undisturbed, before) = (server.exchanges().await, server.memory());
    let request = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    let mut readers = Vec::new();
    for _ in 0..SLOW_READERS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        readers.push(stream);
    }
    let disturbed = server.exchanges().await;
    let during = server.memory();
    // A client learns that its connection was closed when it writes.
    let started = Instant::now();
    let alive = loop {
        let alive = readers
            .iter()
            .filter(|reader| !matches!(reader.try_write(b"\r\n"), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock))
            .count();
        if alive == 0 || started.elapsed() > Duration::from_secs(40) {
            break alive;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    println!("\n{SLOW_READERS} readers that read nothing of 20 x /openapi.json\n");
    println!("exchanges/s before {undisturbed:.0}, beside them {disturbed:.0} ({:.0} %)", 100.0 * disturbed / undisturbed);
    println!("resident MB before {before}, beside them {during}, afterwards {}", server.memory());
    println!("alive after {:.0} s: {alive}", started.elapsed().as_secs_f64() + LASTING.as_secs_f64());
}

async fn sign_ins() {
    let (server, _folder) = Server::start(&[]);
    server.exchanges().await;
    let (mut alone, mut beside_sign_ins, mut beside_control, mut ratios, mut flood_rates) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        alone.push(server.exchanges().await);
        let started = Instant::now();
        let unknown = |number: usize| login(&format!("username=nobody{number}@example.com&password=a+wrong+guess"));
        let (flooded, with_flood) = tokio::join!(load(&server.address, SIGN_INS_AT_ONCE, LASTING, None, unknown), server.exchanges());
        let flood = rate(flooded, started);
        let health = |_: usize| "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned();
        let (_, with_control) = tokio::join!(load(&server.address, SIGN_INS_AT_ONCE, LASTING, Some(flood), health), server.exchanges());
        flood_rates.push(flood);
        ratios.push(with_flood / with_control);
        beside_sign_ins.push(with_flood);
        beside_control.push(with_control);
    }
    println!(
        "\n{SIGN_INS_AT_ONCE} connections that sign in as nobody ({:.0} requests/s), and as many requests/s to /healthz; medians of {ROUNDS} rounds\n",
        median(flood_rates)
    );
    println!("exchanges/s alone {:.0}", median(alone));
    println!("exchanges/s beside sign-ins {:.0}, beside /healthz {:.0}", median(beside_sign_ins), median(beside_control));
    println!("ratio {:.2}", median(ratios));
}

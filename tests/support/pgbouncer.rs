//! A PgBouncer of one test's own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::postgres::{free_port, is_root};

/// A PgBouncer before a PostgreSQL, until it is dropped.
pub struct PgBouncer {
    program: PathBuf,
    folder: TempDir,
    port: u16,
}

impl PgBouncer {
    /// Before the server of this URL, with a pool of five, and with these lines besides what it has by default.
    pub fn start(server: &str, mode: &str, lines: &str) -> Self {
        let program = std::env::var("TEST_PGBOUNCER").expect("TEST_PGBOUNCER is not set: run scripts/test, which finds PgBouncer");
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        let this = Self { program: program.into(), folder, port: free_port() };
        let address = server.split_once('@').unwrap().1.split('/').next().unwrap();
        let (host, port) = address.split_once(':').unwrap();
        let path = |name: &str| this.folder.path().join(name).display().to_string();
        let settings = format!(
            "[databases]\n* = host={host} port={port}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = {mode}\ndefault_pool_size = 5\nlogfile = {}\npidfile = {}\n{lines}\n",
            this.port,
            path("users"),
            path("log"),
            path("pid"),
        );
        std::fs::write(path("settings.ini"), settings).unwrap();
        std::fs::write(path("users"), "\"hourpass\" \"\"\n").unwrap();
        this.start_again();
        this
    }

    /// The URL of a database, through this.
    pub fn url(&self, server: &str) -> String {
        format!("postgres://hourpass@127.0.0.1:{}/{}", self.port, server.rsplit_once('/').unwrap().1)
    }

    pub fn start_again(&self) {
        // PgBouncer refuses to run as root.
        let mut command = if is_root() { Command::new("runuser") } else { Command::new(&self.program) };
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(&self.program);
        }
        let done = command.arg("-d").arg("settings.ini").current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        // It goes to the background before it listens.
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// At once, as by a crash.
    pub fn stop(&self) {
        let file = self.folder.path().join("pid");
        let id = std::fs::read_to_string(&file).unwrap();
        assert!(Command::new("kill").args(["-s", "TERM", id.trim()]).status().unwrap().success());
        while std::path::Path::new(&format!("/proc/{}", id.trim())).exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _removed_by_itself = std::fs::remove_file(file);
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if self.folder.path().join("pid").exists() {
            self.stop();
        }
    }
}

//! A PostgreSQL of one test's own, to be stopped and started.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A server, until it is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Postgres {
    pub fn start() -> Self {
        let this = Self::somewhere();
        let data = this.data();
        this.run("initdb", &["-D", &data, "-U", "hourpass", "--auth=trust", "--encoding=UTF8", "--no-locale"]);
        this.control("start");
        this
    }

    /// A stand-by of another one, which it follows under the name `standby`.
    pub fn standby_of(primary: &Self) -> Self {
        let this = Self::somewhere();
        let (data, from) = (this.data(), format!("host=127.0.0.1 port={} user=hourpass application_name=standby", primary.port));
        this.run("pg_basebackup", &["-D", &data, "-d", &from, "-R", "-X", "stream", "-c", "fast"]);
        this.control("start");
        this
    }

    fn somewhere() -> Self {
        let programs = std::env::var("TEST_POSTGRES_BIN").expect("TEST_POSTGRES_BIN is not set: run scripts/test, which finds PostgreSQL's programs");
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        Self { programs: programs.into(), folder, port: free_port() }
    }

    /// Makes a stand-by the primary, and returns when it takes writes.
    pub fn promote(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "promote"]);
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("postgres://hourpass@127.0.0.1:{}/postgres", self.port)
    }

    /// Nothing is waited for, and nothing written first.
    pub fn crash(&self) {
        self.control("stop");
    }

    pub fn start_again(&self) {
        self.control("start");
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn control(&self, what: &str) {
        let (data, log) = (self.data(), self.folder.path().join("log").display().to_string());
        let options = format!("-c listen_addresses=127.0.0.1 -p {} -c unix_socket_directories={}", self.port, self.folder.path().display());
        let how: &[&str] = if what == "start" { &["-o", &options] } else { &["-m", "immediate"] };
        self.run("pg_ctl", &[&["-D", &data, "-l", &log, "-w"], how, &[what]].concat());
    }

    /// PostgreSQL refuses to run as root.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() { Command::new("runuser") } else { Command::new(&program) };
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        let done = command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(done.success(), "{} {arguments:?}", program.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test may have stopped it.
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.control("stop");
        }
    }
}

/// A port that nobody listens on.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

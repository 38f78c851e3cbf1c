//! The program itself, as a process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The program, with nothing of this process's environment but the path.
pub fn hourpass(folder: &Path) -> Command {
    command(env!("CARGO_BIN_EXE_hourpass"), folder)
}

/// A program in a folder, with nothing of this process's environment but the path.
pub fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder);
    command
}

/// A server as a process. It is killed when dropped.
pub struct Process {
    child: Child,
    pub url: String,
    lines: Receiver<String>,
    /// What it wrote to standard error up to now.
    seen: Vec<String>,
}

impl Process {
    /// Starts it and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // So that the process never waits for us to read.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut this = Self { child, url: String::new(), lines, seen: Vec::new() };
        let line = this.wait_for("listening on ");
        line.split_once("listening on ").unwrap().1.clone_into(&mut this.url);
        this
    }

    /// Waits for a line on standard error that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("no line {text:?} in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap().success());
    }

    /// Asks it to stop, waits for its end, and returns what it wrote.
    pub fn stop(mut self) -> Output {
        self.signal("TERM");
        self.output()
    }

    /// Waits for its end, and returns what it wrote.
    pub fn output(&mut self) -> Output {
        let status = self.child.wait().unwrap();
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let mut lines = std::mem::take(&mut self.seen);
        lines.extend(self.lines.iter());
        Output { status, stdout, stderr: lines.join("\n").into_bytes() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

//! A whole node in a process of its own, which can be killed.

use crate::client::{Client, PATIENCE};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program, built beside the caller.
///
/// # Errors
///
/// It was not built.
pub fn program() -> anyhow::Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    while folder.pop() {
        let program = folder.join("smart-maintenance");
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!("the program is not built: cargo build -p control-plane (with --release for release runs)")
}

/// Lines that a process has written so far. They are read as they come, so that it never waits for a reader.
#[derive(Debug)]
struct Lines {
    kept: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn of(source: impl Read + Send + 'static) -> Self {
        let kept = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&kept);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { kept, reader }
    }

    fn so_far(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All that its source wrote before it ended, which it has.
    fn whole(self) -> Vec<String> {
        let Self { kept, reader } = self;
        assert!(reader.join().is_ok(), "a reader of lines does not panic");
        std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running node. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    client: Client,
    log: Lines,
}

impl Process {
    /// Starts a node on `folder` and waits until it listens. `key` is needed when the folder is not empty.
    ///
    /// # Errors
    ///
    /// It ended before it listened.
    pub fn start(folder: &Path, key: Option<&str>, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(folder, key, arguments, &[])
    }

    /// The same with more variables in its environment, such as secrets.
    ///
    /// # Errors
    ///
    /// It ended before it listened.
    pub fn start_with(
        folder: &Path,
        key: Option<&str>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::listening(Command::new(program()?), folder, key, arguments, variables)
    }

    /// The same on these of the machine's cores alone, in the words of `taskset`.
    ///
    /// # Errors
    ///
    /// It ended before it listened.
    pub fn start_on(cores: &str, folder: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut confined = Command::new("taskset");
        confined.args(["-c", cores]).arg(program()?);
        Self::listening(confined, folder, None, &[], variables)
    }

    fn listening(
        mut command: Command,
        folder: &Path,
        key: Option<&str>,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = Lines::of(child.stdout.take().context("its output is piped")?);
        let told = Lines::of(child.stderr.take().context("its error output is piped")?);
        let began = Instant::now();
        loop {
            let lines = told.so_far();
            if let Some(base) = lines.iter().find_map(|line| line.strip_prefix("listening on ")) {
                let shown = lines.iter().find(|line| line.starts_with("smk_")).cloned();
                let client = Client::new(base.trim(), shown.or(key.map(str::to_owned)));
                return Ok(Self { child, client, log });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the node ended with {status} before it listened: {}", told.whole().join("\n"));
            }
            if PATIENCE < began.elapsed() {
                child.kill()?;
                bail!("the node did not listen within {PATIENCE:?}: {}", lines.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process, by its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A client with all scopes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The lines of its log so far, each of which must be a JSON object.
    ///
    /// # Panics
    ///
    /// One is none.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.log.so_far();
        let parse = |line: &String| match serde_json::from_str(line) {
            Ok(Value::Object(members)) => Value::Object(members),
            _ => panic!("a line of the log is no JSON object: {line}"),
        };
        lines.iter().map(parse).collect()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to stop, as a service manager does (`SIGTERM`).
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    pub fn ask_to_stop(self) -> anyhow::Result<Stopping> {
        let asked = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        ensure!(asked.success(), "the node cannot be told to stop");
        Ok(Stopping { process: self, since: Instant::now() })
    }

    /// Ends it as a power cut would, without a chance to finish.
    ///
    /// # Errors
    ///
    /// It cannot be killed.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// A node that was asked to stop.
#[derive(Debug)]
pub struct Stopping {
    process: Process,
    since: Instant,
}

impl Stopping {
    /// Waits for its end: how it ended, and how long that took.
    ///
    /// # Errors
    ///
    /// It did not end `within` that time.
    pub fn wait(mut self, within: Duration) -> anyhow::Result<(ExitStatus, Duration)> {
        loop {
            if let Some(status) = self.process.ended()? {
                return Ok((status, self.since.elapsed()));
            }
            ensure!(self.since.elapsed() < within, "the node did not stop within {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already; both calls say so and nothing is lost by it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A whole node in a process of its own, which can be killed.

use crate::client::Client;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// A running node. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    client: Client,
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

    /// The same, with `settings` in its environment.
    ///
    /// # Errors
    ///
    /// It ended before it listened.
    pub fn start_with(
        folder: &Path,
        key: Option<&str>,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(program()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .args(arguments)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut key = key.map(str::to_owned);
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(found) = line.split_whitespace().find(|word| word.starts_with("smk_")) {
                key = Some(found.to_owned());
            }
            if let Some(base) = line.strip_prefix("listening on ") {
                return Ok(Self { child, client: Client::new(base.trim(), key) });
            }
        }
        let status = child.wait()?;
        bail!("the node ended with {status} before it listened")
    }

    /// The process, by its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A client with all scopes.
    pub fn client(&self) -> &Client {
        &self.client
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

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already; both calls say so and nothing is lost by it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

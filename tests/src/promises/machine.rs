//! A machine whose disk and clock fail on request, for a node in a process of its own.
//!
//! A small library in C stands between the program and the system's own (`machine.c`): the program is the one that is
//! shipped.

use crate::process::Process;
use anyhow::{Context as _, ensure};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SOURCE: &str = include_str!("machine.c");

/// What fails while it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every sync of the store's files, with an I/O error.
    Sync,
    /// Every write to them, with an I/O error.
    Write,
    /// Every write to them, because there is no room.
    Full,
    /// Every read from them, with an I/O error.
    Read,
}

impl Fault {
    fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Full => "full",
            Self::Read => "read",
        }
    }
}

/// One of the store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The database.
    Database,
    /// Its write-ahead log.
    Wal,
}

/// What the program did to one of the store's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It wrote bytes at an offset.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// What it wrote so far is on the disk.
    Sync,
    /// It made the file that long.
    Truncate(u64),
    /// It removed the file.
    Remove,
}

/// The library, and what it is told and tells through files.
#[derive(Debug)]
pub struct Machine {
    own: TempDir,
    /// The folder of the node.
    pub folder: TempDir,
}

impl Machine {
    /// Builds the library.
    ///
    /// # Errors
    ///
    /// There is no C compiler.
    pub fn build() -> anyhow::Result<Self> {
        let own = TempDir::new()?;
        std::fs::write(own.path().join("machine.c"), SOURCE)?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([own.path().join("machine.so"), own.path().join("machine.c")])
            .status()
            .context("a C compiler is missing: install gcc or clang")?;
        ensure!(built.success(), "the library does not compile");
        std::fs::write(own.path().join("clock"), 0_i64.to_le_bytes())?;
        Ok(Self { own, folder: TempDir::new()? })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.own.path().join(name)
    }

    /// Starts a node on this machine.
    ///
    /// # Errors
    ///
    /// It ended before it listened.
    pub fn start(&self, key: Option<&str>, variables: &[(&str, &str)]) -> anyhow::Result<Process> {
        let told = [
            ("LD_PRELOAD", self.file("machine.so")),
            ("MACHINE_FOLDER", self.folder.path().to_owned()),
            ("MACHINE_LOG", self.file("log")),
            ("MACHINE_FAULT", self.file("fault")),
            ("MACHINE_CLOCK", self.file("clock")),
        ];
        let told = told.iter().map(|(name, value)| Ok((*name, value.to_str().context("a path in UTF-8")?)));
        let told: Vec<(&str, &str)> = told.collect::<anyhow::Result<_>>()?;
        Process::start_with(self.folder.path(), key, &[], &[&told, variables].concat())
    }

    /// Lets the disk fail from now on, or no more.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub fn fail(&self, fault: Option<Fault>) -> anyhow::Result<()> {
        match fault {
            Some(fault) => {
                // Moved there whole, so that half a word is never read.
                std::fs::write(self.file("fault.new"), fault.word())?;
                std::fs::rename(self.file("fault.new"), self.file("fault"))?;
            }
            None => std::fs::remove_file(self.file("fault"))?,
        }
        Ok(())
    }

    /// Lets the clock of the wall be wrong by so many seconds.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub fn set_clock_wrong_by(&self, seconds: i64) -> anyhow::Result<()> {
        // The node has the file mapped, so it is written in place.
        let mut clock = File::options().write(true).open(self.file("clock"))?;
        clock.write_all(&seconds.to_le_bytes())?;
        Ok(())
    }

    /// How much has been done so far: what is acknowledged by then was done before.
    pub fn done_so_far(&self) -> u64 {
        std::fs::metadata(self.file("log")).map_or(0, |log| log.len())
    }

    /// All that was done after the first `skipped` bytes of the record, each with where it ends.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub fn done_since(&self, skipped: u64) -> anyhow::Result<Vec<(u64, Stored, Done)>> {
        let mut file = File::open(self.file("log"))?;
        file.seek(SeekFrom::Start(skipped))?;
        let mut log = Vec::new();
        file.read_to_end(&mut log)?;
        parse(&log, skipped)
    }
}

fn parse(log: &[u8], skipped: u64) -> anyhow::Result<Vec<(u64, Stored, Done)>> {
    let mut done = Vec::new();
    let mut rest = log;
    // A process that was killed may have left half a record.
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let n_bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (offset_bytes, n_body) = (head[8..].try_into()?, if head[0] == b'w' { n_bytes } else { 0 });
        let Some((bytes, after)) = after.split_at_checked(n_body) else { break };
        let offset = u64::from_le_bytes(offset_bytes);
        let what = match head[0] {
            b'w' => Done::Write { offset, bytes: bytes.to_vec() },
            b's' => Done::Sync,
            b't' => Done::Truncate(offset),
            b'u' => Done::Remove,
            other => anyhow::bail!("a record begins with {other}"),
        };
        rest = after;
        let end = skipped + (log.len() - rest.len()) as u64;
        done.push((end, if head[1] == 0 { Stored::Database } else { Stored::Wal }, what));
    }
    Ok(done)
}

/// A folder in memory if there is one: what it holds need not last.
///
/// # Errors
///
/// No folder can be made.
pub(super) fn passing_folder() -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { TempDir::new_in(memory)? } else { TempDir::new()? })
}

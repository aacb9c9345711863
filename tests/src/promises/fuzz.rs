//! Parsers fed with mutated bytes.
//!
//! No instrumentation: a seed chooses from a committed corpus, splices, cuts, repeats and replaces. What panics or
//! takes longer than a second is a finding, with its bytes.

use super::chance;
use control_plane::fuzz::TARGETS;
use rand::RngExt as _;
use rand_pcg::Pcg64Mcg;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest input.
const BYTES_MAX: usize = 4_096;
/// Longest time for one input.
const TIME_MAX: Duration = Duration::from_secs(1);
/// Pieces that parsers look for.
const TOKENS: [&[u8]; 30] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b":",
    b"\n",
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e309",
    b"-0",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"%",
    b"%00",
    b"%zz",
    b"/",
    b"sensor_id",
    b"value",
    b"timestamp",
    b"readings",
    b"9999-12-31T23:59:60Z",
    b"18446744073709551616",
    b"_",
    b"[[[[[[[[",
];

/// An input on which a parser panicked or took too long.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The parser.
    pub target: &'static str,
    /// What went wrong.
    pub what: String,
    /// The input.
    pub input: Vec<u8>,
}

/// Where the corpus of a parser lies.
pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Feeds each parser `executions` inputs made of its corpus; gives the executions in all and what was found.
///
/// # Errors
///
/// A corpus cannot be read, or is empty.
pub fn run(executions: u64, seed: u64) -> anyhow::Result<(u64, Vec<Finding>)> {
    let (mut n_executions, mut findings) = (0, Vec::new());
    for (target, parse) in TARGETS {
        let mut seeds = Vec::new();
        for file in std::fs::read_dir(corpus(target))? {
            seeds.push(std::fs::read(file?.path())?);
        }
        anyhow::ensure!(!seeds.is_empty(), "the corpus of {target} is empty");
        // Findings of earlier runs, and the seeds as they are, come first.
        let mut chance = chance(seed);
        let mut inputs = seeds.clone().into_iter();
        for _ in 0..executions {
            let input = inputs.next().unwrap_or_else(|| mutated(&seeds, &mut chance));
            n_executions += 1;
            let began = Instant::now();
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| parse(&input)));
            let what = match outcome {
                Err(_) => "it panicked".to_owned(),
                Ok(()) if TIME_MAX < began.elapsed() => format!("it took {:?}", began.elapsed()),
                Ok(()) => continue,
            };
            findings.push(Finding { target, what, input });
            if 10 < findings.len() {
                return Ok((n_executions, findings));
            }
        }
    }
    Ok((n_executions, findings))
}

fn mutated(seeds: &[Vec<u8>], chance: &mut Pcg64Mcg) -> Vec<u8> {
    let mut bytes = seeds[chance.random_range(0..seeds.len())].clone();
    for _ in 0..chance.random_range(1..6) {
        let at = chance.random_range(0..=bytes.len());
        let end = (at + chance.random_range(0..16)).min(bytes.len());
        match chance.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = chance.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let times = chance.random_range(1..8);
                bytes.splice(at..at, piece.repeat(times));
            }
            4 => {
                let other = &seeds[chance.random_range(0..seeds.len())];
                let from = chance.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let token = TOKENS[chance.random_range(0..TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parser_panics_on_what_a_stranger_may_send() {
        let (n_executions, findings) = run(5_000, 1).expect("there is a corpus");
        assert!(findings.is_empty(), "{findings:?}");
        assert!(30_000 < n_executions);
    }
}

//! What the command line says: its answers on standard output, words to whoever started it on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes one line for whoever, or whatever, reads standard output.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes one line for the person who started the program; where it went is no reason to fail.
pub(crate) fn aside(text: impl Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes `text`, which has its own line ends.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Tells a person why the program ends.
pub(crate) fn complaint(error: &anyhow::Error) {
    // When standard error is gone too, the exit code has to do.
    aside(format_args!("smart-maintenance: {}", reason(error)));
}

/// The chain of causes in one line, without those that the cause before tells already.
fn reason(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file").context("no settings");
        assert_eq!(reason(&error), "no settings: cannot read x: no such file");
    }
}

//! Figures beside what they must be, what is aimed at and what others published.

use std::io::Write;

/// Prints one line.
///
/// # Errors
///
/// Nobody reads it.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The side on which a figure has to lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Shown for comparison.
    Shown,
}

/// What has been measured so far falls short of.
#[derive(Debug, Default)]
pub(crate) struct Report {
    shortfalls: Vec<String>,
}

impl Report {
    /// Begins the table of one data set.
    ///
    /// # Errors
    ///
    /// Nobody reads it.
    pub(crate) fn table(&mut self, title: &str) -> anyhow::Result<()> {
        say(&format!("\n{title}"))?;
        say(&format!("  {:<44} {:>10} {:>10} {:>10}  published", "", "measured", "must", "aim"))
    }

    /// Prints one figure, and notes it when it falls short.
    ///
    /// # Errors
    ///
    /// Nobody reads it.
    pub(crate) fn figure(
        &mut self,
        name: &str,
        measured: f64,
        must: Must,
        aim: &str,
        published: &str,
    ) -> anyhow::Result<()> {
        let (bound, holds) = match must {
            Must::AtLeast(least) => (format!(">= {least}"), least <= measured),
            Must::AtMost(most) => (format!("<= {most}"), measured <= most),
            Must::Shown => (String::new(), true),
        };
        if !holds {
            self.shortfall(format!("{name} is {measured:.3}, must be {bound}"));
        }
        say(format!("  {name:<44} {measured:>10.3} {bound:>10} {aim:>10}  {published}").trim_end())
    }

    /// Notes what is not as it must be.
    pub(crate) fn shortfall(&mut self, text: String) {
        self.shortfalls.push(text);
    }

    /// Everything that was noted.
    pub(crate) fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }
}

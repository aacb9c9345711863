//! How readings of several sensors become rows.
//!
//! A row is complete when one of its sensors speaks again. So the fastest sensor beats the time, slower ones say
//! nothing in most rows, and clocks need not agree.

use serde::{Deserialize, Serialize};

/// The row that is being filled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rows {
    /// NaN for a sensor that has not spoken yet.
    values: Vec<f64>,
    /// When the row began.
    began_at: f64,
    n: usize,
}

impl Rows {
    /// Rows of `n_channels` values, of which none is there yet.
    pub fn new(n_channels: usize) -> Self {
        Self { values: vec![f64::NAN; n_channels], began_at: f64::NEG_INFINITY, n: 0 }
    }

    /// Takes a finite `value` of a channel, measured at `at` seconds since the epoch. Gives the row that it ends,
    /// with a value for each sensor and NaN for those that said nothing.
    ///
    /// A reading from before the row under way comes too late and is left out.
    ///
    /// # Panics
    ///
    /// When there is no such channel.
    pub fn take(&mut self, channel: usize, at: f64, value: f64) -> Option<Vec<f64>> {
        if at < self.began_at {
            return None;
        }
        let mut completed = None;
        if !self.values[channel].is_nan() || self.n == 0 {
            let width = self.values.len();
            let values = std::mem::replace(&mut self.values, vec![f64::NAN; width]);
            completed = (0 < self.n).then_some(values);
            self.n = 0;
            self.began_at = at;
        }
        self.values[channel] = value;
        self.n += 1;
        completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_when_one_of_its_sensors_speaks_again() {
        let mut rows = Rows::new(2);
        assert_eq!(rows.take(0, 0.0, 1.0), None);
        assert_eq!(rows.take(1, 0.3, 5.0), None);
        assert_eq!(rows.take(0, 1.0, 2.0).unwrap(), [1.0, 5.0]);
        let row = rows.take(0, 2.0, 3.0).unwrap();
        assert!(row[0] == 2.0 && row[1].is_nan(), "{row:?}");
    }

    #[test]
    fn a_reading_that_comes_too_late_is_left_out() {
        let mut rows = Rows::new(2);
        rows.take(0, 10.0, 1.0);
        assert_eq!(rows.take(1, 9.0, 7.0), None);
        assert!(rows.take(0, 11.0, 2.0).unwrap()[1].is_nan());
    }
}

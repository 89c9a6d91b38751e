//! Medians and spreads.

use std::fmt;
use std::time::Duration;

/// The value that this share of the sorted `values` keeps below.
pub(crate) fn quantile<T: Copy + Default>(values: &[T], share: f64) -> T {
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// What rounds showed: the middle one, and between what the middle half of them lay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) quarter: f64,
    pub(crate) three_quarters: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self {
            median: quantile(&values, 0.5),
            quarter: quantile(&values, 0.25),
            three_quarters: quantile(&values, 0.75),
        }
    }

    /// With so many digits after the point.
    pub(crate) fn with(self, digits: usize) -> String {
        let Self { median, quarter, three_quarters } = self;
        format!("{median:.digits$} [{quarter:.digits$}–{three_quarters:.digits$}]")
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with(0))
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_quarters() {
        let spread = Spread::of([3.0, 1.0, 2.0, 100.0, 0.0]);
        assert_eq!(spread, Spread { median: 2.0, quarter: 1.0, three_quarters: 3.0 });
        assert_eq!(spread.with(1), "2.0 [1.0–3.0]");
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)), (51, 99, 100));
        assert_eq!(quantile::<u32>(&[], 0.5), 0);
    }
}

//! `/metrics` as numbers.

use std::collections::BTreeMap;

/// Every sample of one scrape, by its name with labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| {
                    let (series, value) = line.rsplit_once(' ')?;
                    Some((series.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// The value of a metric without labels.
    pub(crate) fn value(&self, name: &str) -> u64 {
        let value = self.0.get(name);
        *value.unwrap_or_else(|| panic!("/metrics has no {name}")) as u64
    }

    /// The sum of a metric's series that have all of these `label="value"`.
    pub(crate) fn sum(&self, name: &str, labels: &[String]) -> u64 {
        self.series(name)
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value as u64)
            .sum()
    }

    /// How many series of a metric have all of these `label="value"`.
    pub(crate) fn count(&self, name: &str, labels: &[String]) -> usize {
        self.series(name)
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .count()
    }

    /// The counters with labels that begin so and are not 0.
    pub(crate) fn counted(&self, prefix: &str) -> Vec<(String, u64)> {
        self.0
            .iter()
            .filter(|(series, value)| {
                series.starts_with(prefix) && series.contains("_total{") && **value > 0.0
            })
            .map(|(series, value)| (series.clone(), *value as u64))
            .collect()
    }

    /// The value of a label on a metric's only series.
    pub(crate) fn label(&self, name: &str, label: &str) -> String {
        let (series, _) = self
            .series(name)
            .next()
            .unwrap_or_else(|| panic!("/metrics has no {name}"));
        series
            .split_once(&format!("{label}=\""))
            .and_then(|(_, rest)| rest.split('"').next())
            .unwrap_or_else(|| panic!("{series} has no label {label}"))
            .to_owned()
    }

    fn series(&self, name: &str) -> impl Iterator<Item = (&String, f64)> {
        let prefix = format!("{name}{{");
        self.0
            .iter()
            .filter(move |(series, _)| series.starts_with(&prefix))
            .map(|(series, value)| (series, *value))
    }
}

//! What the HTTP API answers to a query.

use std::collections::BTreeMap;

use serde_json::Value;

/// One sample of an instant vector; a scalar is one without labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name of the metric is `__name__`.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// The value of a label; empty where there is none, as PromQL has it.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// The samples in the `data` of an answer; absent where it is of another type.
pub(super) fn samples(data: &Value) -> Option<Vec<Sample>> {
    let result = &data["result"];
    match data["resultType"].as_str()? {
        "vector" => result
            .as_array()?
            .iter()
            .map(|entry| {
                Some(Sample {
                    labels: serde_json::from_value(entry["metric"].clone()).ok()?,
                    value: value(&entry["value"])?,
                })
            })
            .collect(),
        "scalar" => Some(vec![Sample {
            labels: BTreeMap::new(),
            value: value(result)?,
        }]),
        _ => None,
    }
}

/// `[1435781451.781, "1"]`.
fn value(pair: &Value) -> Option<f64> {
    pair[1].as_str()?.parse().ok()
}

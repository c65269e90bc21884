//! The queries of a Grafana dashboard.

use serde_json::Value;

/// The panels of a dashboard, rows left out.
pub(crate) struct Panels {
    queries: Vec<Query>,
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The panel's title.
    pub(crate) panel: String,
    /// PromQL with Grafana's variables in it.
    pub(crate) expression: String,
}

impl Panels {
    /// Those of a dashboard's JSON.
    pub(crate) fn of(dashboard: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let queries = list(&dashboard["panels"])
            .iter()
            .flat_map(|panel| {
                let title = panel["title"].as_str().unwrap_or_default().to_owned();
                list(&panel["targets"])
                    .into_iter()
                    .map(move |target| Query {
                        panel: title.clone(),
                        expression: target["expr"].as_str().unwrap_or_default().to_owned(),
                    })
            })
            .collect();
        Self { queries }
    }

    /// All queries, in the order of the panels.
    pub(crate) fn queries(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter()
    }
}

impl Query {
    /// The query as Grafana would send it for all values of all variables, over the last hour.
    pub(crate) fn filled_in(&self) -> String {
        self.expression
            .replace("$__rate_interval", "1h")
            .replace("$__range", "1h")
            .replace("$namespace", ".*")
            .replace("$workload", ".*")
            .replace("$pod", ".*")
            .replace("$node", ".*")
    }
}

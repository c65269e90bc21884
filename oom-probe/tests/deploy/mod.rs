//! What lies in `deploy/`: manifests, chart, alerts, dashboard.
//!
//! Rendered manifests and copies of the rules are committed, and checked here against what they are
//! made from; `cargo xtask deploy` makes them anew. Tests that run kubectl, helm or promtool are
//! skipped, saying so, where these are not on the PATH: `cargo xtask test` gets them.

mod alerts;
mod bpffs;
mod chart;
mod cleanup;
mod copies;
mod dashboard;
mod flags;
mod objects;
mod privileges;
mod programs;
mod render;
mod resources;
mod schema;
mod scraping;

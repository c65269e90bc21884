//! HTTP to a port of a pod, through the API server: to the pod it comes from its own loopback
//! interface, so that oom-probe answers `/api/` too.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::Method;
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::time::timeout;

use crate::drill::web;

pub(crate) struct Forward {
    pub(super) pods: Api<Pod>,
    pub(super) pod: String,
    pub(super) port: u16,
}

impl Forward {
    pub(crate) async fn get(&self, path: &str, within: Duration) -> Result<Bytes> {
        let Self { pods, pod, port } = self;
        let asked = async {
            let mut forwarder = pods
                .portforward(pod, &[*port])
                .await
                .with_context(|| format!("cannot forward a port of {pod}"))?;
            let stream = forwarder.take_stream(*port).context("no stream")?;
            let refused = forwarder.take_error(*port).context("no stream of errors")?;
            let answer = tokio::select! {
                answer = web::exchange(stream, "localhost", Method::GET, path) => answer,
                Some(why) = refused => bail!("{pod}: {why}"),
            };
            forwarder.abort();
            answer
        };
        match timeout(within, asked).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer of {pod} within {} s", within.as_secs()),
        }
    }
}

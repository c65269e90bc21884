//! From a request to its response.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;

use super::app::{Api, ApiAccess, App, Status};
use super::body::Body;
use super::connections::Seat;
use super::exposition::{self, Encoding};
use super::{kills, negotiate};
use crate::sinks::history::History;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

const KILLS: &str = "/api/v1/kills";
const OOM_GROUP: &str = "/api/v1/oom-group";

/// Answers a request of `peer`.
pub(super) async fn answer<B>(
    app: &App,
    seat: &Arc<Seat>,
    peer: IpAddr,
    request: &Request<B>,
) -> Response<Body> {
    seat.begin();
    let path = request.uri().path();
    let is_api = path.starts_with("/api/");
    let response = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refusal = error(
            StatusCode::METHOD_NOT_ALLOWED,
            is_api,
            "only GET and HEAD are answered",
        );
        with(refusal, ALLOW, "GET, HEAD")
    } else if is_api && !may_read_api(app.api_access, peer) {
        error(
            StatusCode::FORBIDDEN,
            is_api,
            "/api/ answers only this host, since it names other tenants' pods: use kubectl exec \
             or port-forward, or start oom-probe with --api-remote",
        )
    } else {
        match path {
            "/" => reply(StatusCode::OK, HTML, Body::whole(index(&app.api))),
            "/metrics" => metrics(app, seat, request).await,
            "/healthz" => healthz(&app.probe.status()),
            "/readyz" => readyz(&app.probe.status()),
            _ => match (&app.api, path) {
                (Api::Kills(history), KILLS) => {
                    list_kills(app, history, seat, request.uri().query()).await
                }
                (Api::OomGroup(state), OOM_GROUP) => {
                    app.probe.refresh();
                    reply(StatusCode::OK, JSON, Body::whole(state()))
                }
                _ => error(
                    StatusCode::NOT_FOUND,
                    is_api,
                    "not found; / lists what there is",
                ),
            },
        }
    };
    with(response, X_CONTENT_TYPE_OPTIONS, "nosniff").map(|body| body.told_to(seat))
}

/// The page that leads to all others.
fn index(api: &Api) -> String {
    let (path, shows, alive, ready) = match api {
        Api::Kills(_) => (
            KILLS,
            "the last kills",
            "the reader is alive",
            "kills are being captured",
        ),
        Api::OomGroup(_) => (
            OOM_GROUP,
            "the containers whose memory.oom.group is held",
            "the daemon is alive",
            "cgroups can be written to",
        ),
    };
    format!(
        "<!DOCTYPE html>
<title>oom-probe</title>
<h1>oom-probe</h1>
<ul>
<li><a href=\"/metrics\">/metrics</a>: for Prometheus
<li><a href=\"{path}\">{path}</a>: {shows}
<li><a href=\"/healthz\">/healthz</a>: whether {alive}
<li><a href=\"/readyz\">/readyz</a>: whether {ready}
</ul>
"
    )
}

/// Whether `peer` may read `/api/`.
fn may_read_api(access: ApiAccess, peer: IpAddr) -> bool {
    match access {
        // An IPv4 peer of an IPv6 socket comes as ::ffff:127.0.0.1.
        ApiAccess::Loopback => peer.to_canonical().is_loopback(),
        ApiAccess::Everyone => true,
    }
}

async fn metrics<B>(app: &App, seat: &Seat, request: &Request<B>) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let format = negotiate::format(header(ACCEPT));
    let encoding = negotiate::encoding(header(ACCEPT_ENCODING));
    seat.begin_scrape();
    app.probe.refresh();
    app.probe.written().await;
    let exposition = match exposition::encode(&app.registry, format, encoding) {
        Ok(exposition) => exposition,
        Err(cause) => {
            let message = format!("the metrics cannot be written: {cause}");
            return error(StatusCode::INTERNAL_SERVER_ERROR, false, &message);
        }
    };
    app.probe.scraped();
    let response = reply(
        StatusCode::OK,
        format.content_type(),
        Body::whole(exposition),
    );
    let response = with(response, VARY, "Accept, Accept-Encoding");
    match encoding {
        Encoding::Gzip => with(response, CONTENT_ENCODING, "gzip"),
        Encoding::Identity => response,
    }
}

fn healthz(status: &Status) -> Response<Body> {
    match &status.stuck {
        None => reply(StatusCode::OK, TEXT, Body::whole("ok\n")),
        Some(reason) => reply(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            Body::whole(format!("the reader of kills is stuck: {reason}\n")),
        ),
    }
}

/// Requests are answered from when kills are captured on, and no longer than that: whoever is
/// answered at all asks one that is ready.
fn readyz(status: &Status) -> Response<Body> {
    let mut text = "ready\n".to_owned();
    for (name, value) in &status.details {
        // A String takes everything.
        let _ = writeln!(text, "{name}: {value}");
    }
    reply(StatusCode::OK, TEXT, Body::whole(text))
}

async fn list_kills(
    app: &App,
    history: &History,
    seat: &Seat,
    query: Option<&str>,
) -> Response<Body> {
    let request = match kills::parse(query, Timestamp::now()) {
        Ok(request) => request,
        Err(bad) => return error(StatusCode::BAD_REQUEST, true, &bad.to_string()),
    };
    if request.wait.is_some() && seat.begin_wait().is_err() {
        let message = "too many requests wait for a kill: try again in a moment";
        let refusal = error(StatusCode::SERVICE_UNAVAILABLE, true, message);
        return with(refusal, RETRY_AFTER, "5");
    }
    let found = kills::answer(app, history, &request).await;
    reply(StatusCode::OK, JSON, Body::json_array(found))
}

/// One line for people, an object with `error` for programs.
fn error(code: StatusCode, is_api: bool, message: &str) -> Response<Body> {
    if is_api {
        let object = serde_json::json!({ "error": message });
        reply(code, JSON, Body::whole(format!("{object}\n")))
    } else {
        reply(code, TEXT, Body::whole(format!("{message}\n")))
    }
}

fn reply(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    with(response, CONTENT_TYPE, content_type)
}

fn with(mut response: Response<Body>, name: HeaderName, value: &'static str) -> Response<Body> {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::http::connections::Table;
    use crate::http::served::app;

    async fn ask(access: ApiAccess, peer: &str, path: &str) -> (StatusCode, String) {
        let seat = Arc::new(Table::admit(&Arc::new(Table::new())));
        let mut app = app();
        app.api_access = access;
        let request = Request::get(path).body(()).unwrap();
        let response = answer(&app, &seat, peer.parse().unwrap(), &request).await;
        let code = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_remote_peer_gets_metrics_and_is_told_why_no_kills() {
        let (code, body) = ask(ApiAccess::Loopback, "10.1.2.3", "/api/v1/kills").await;
        assert_eq!(code, StatusCode::FORBIDDEN);
        assert!(body.contains("--api-remote"), "{body}");
        assert_eq!(body.lines().count(), 1, "{body}");
        let (code, _) = ask(ApiAccess::Loopback, "10.1.2.3", "/api/unknown").await;
        assert_eq!(code, StatusCode::FORBIDDEN);
        let (code, _) = ask(ApiAccess::Loopback, "10.1.2.3", "/metrics").await;
        assert_eq!(code, StatusCode::OK);
        let (code, _) = ask(ApiAccess::Everyone, "10.1.2.3", "/api/v1/kills").await;
        assert_eq!(code, StatusCode::OK);
    }

    #[test]
    fn the_api_is_for_this_host_unless_opened() {
        for (peer, local) in [
            ("127.0.0.1", true),
            ("127.9.8.7", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
            ("::", false),
            ("0.0.0.0", false),
            ("2001:db8::127:0:0:1", false),
        ] {
            let peer = peer.parse().unwrap();
            assert_eq!(may_read_api(ApiAccess::Loopback, peer), local, "{peer}");
            assert!(may_read_api(ApiAccess::Everyone, peer), "{peer}");
        }
    }
}

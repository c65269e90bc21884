//! Requests and their answers.

use std::sync::Arc;

use hog::units::{format_size, parse_mebibytes};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};

use super::replica::Replica;

const HELP: &str = "\
hog: a service that can be asked to outgrow its limit
GET  /readyz             200 when it serves
GET  /status             what it holds, its cgroup's usage and limit, as JSON
POST /allocate?mb=200    take that much more, step by step
POST /free               give all of it back
";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Help,
    Ready,
    Status,
    /// That many bytes more.
    Allocate(u64),
    Free,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    /// The path takes only this method.
    Only(&'static str),
    Bad(String),
}

pub(super) fn answer<B>(request: &Request<B>, replica: &Arc<Replica>) -> Response<Full<Bytes>> {
    let uri = request.uri();
    match question(request.method(), uri.path(), uri.query().unwrap_or("")) {
        Ok(Question::Help) => text(StatusCode::OK, HELP),
        Ok(Question::Ready) => text(StatusCode::OK, "ready\n"),
        Ok(Question::Status) => match serde_json::to_string(&replica.status()) {
            Ok(status) => body(StatusCode::OK, "application/json", status + "\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        Ok(Question::Allocate(bytes)) => match replica.allocate(bytes) {
            Ok(()) => text(
                StatusCode::ACCEPTED,
                format!("taking {} more\n", format_size(bytes)),
            ),
            Err(_) => text(StatusCode::CONFLICT, "another allocation is under way\n"),
        },
        Ok(Question::Free) => {
            let held = format_size(replica.free());
            text(StatusCode::OK, format!("gave back {held}\n"))
        }
        Err(Refusal::NotFound) => text(StatusCode::NOT_FOUND, HELP),
        Err(Refusal::Bad(why)) => text(StatusCode::BAD_REQUEST, why + "\n"),
        Err(Refusal::Only(method)) => {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("only {method} goes here\n"),
            );
            let headers = response.headers_mut();
            headers.insert(ALLOW, hyper::header::HeaderValue::from_static(method));
            response
        }
    }
}

fn question(method: &Method, path: &str, query: &str) -> Result<Question, Refusal> {
    let get = [Method::GET, Method::HEAD].contains(method);
    let post = *method == Method::POST;
    match path {
        "/" | "/readyz" | "/healthz" | "/status" if !get => Err(Refusal::Only("GET, HEAD")),
        "/allocate" | "/free" if !post => Err(Refusal::Only("POST")),
        "/" => Ok(Question::Help),
        "/readyz" | "/healthz" => Ok(Question::Ready),
        "/status" => Ok(Question::Status),
        "/allocate" => mebibytes(query)
            .map(Question::Allocate)
            .map_err(Refusal::Bad),
        "/free" => Ok(Question::Free),
        _ => Err(Refusal::NotFound),
    }
}

fn mebibytes(query: &str) -> Result<u64, String> {
    let value = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "mb")
        .ok_or("how much? /allocate?mb=200")?
        .1;
    parse_mebibytes(&value)
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", text)
}

fn body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_method_are_a_question() {
        let (get, head, post) = (&Method::GET, &Method::HEAD, &Method::POST);
        for (method, path, query, expected) in [
            (get, "/", "", Ok(Question::Help)),
            (head, "/readyz", "", Ok(Question::Ready)),
            (get, "/healthz", "x=1", Ok(Question::Ready)),
            (get, "/status", "", Ok(Question::Status)),
            (post, "/status", "", Err(Refusal::Only("GET, HEAD"))),
            (
                post,
                "/allocate",
                "mb=200",
                Ok(Question::Allocate(200 << 20)),
            ),
            (
                post,
                "/allocate",
                "a=b&mb=1",
                Ok(Question::Allocate(1 << 20)),
            ),
            (get, "/allocate", "mb=200", Err(Refusal::Only("POST"))),
            (post, "/free", "", Ok(Question::Free)),
            (get, "/elsewhere", "", Err(Refusal::NotFound)),
        ] {
            assert_eq!(question(method, path, query), expected, "{method} {path}");
        }
        for query in ["", "mb=", "mb=0", "mb=x", "mb=99999999999999999999"] {
            let refused = question(post, "/allocate", query);
            assert!(matches!(refused, Err(Refusal::Bad(_))), "{query}");
        }
    }
}

//! Requests that wait for a kill.

use super::*;

async fn until(what: &str, count: &AtomicUsize, wanted: usize) {
    let reached = async {
        while count.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{count:?} of {wanted} {what}");
}

fn ids(answer: &Answer) -> Vec<String> {
    let records: Vec<Record> = serde_json::from_slice(&answer.body).unwrap();
    records.into_iter().map(|record| record.kill.id).collect()
}

fn record(id: &str) -> Record {
    fixture::from(&serde_json::json!({ "id": id }))
}

#[tokio::test]
async fn a_wait_ends_with_the_next_kill() {
    let (app, requests) = counted_app(Status::default());
    let (address, app) = start(app).await;
    history(&app).push(&record("k1")).unwrap();
    let _stopped = stopped_clock();
    let waiting = tokio::spawn(get(address, "/api/v1/kills?after=k1&wait=30s"));
    let began = std::time::Instant::now();
    while requests.load(Ordering::Relaxed) == 0 {
        assert!(began.elapsed() < PATIENCE, "no request");
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    history(&app).push(&record("k2")).unwrap();
    assert_eq!(ids(&waiting.await.unwrap()), ["k2"]);
}

#[tokio::test]
async fn a_wait_for_nothing_ends_with_an_empty_answer() {
    let (address, app) = start(app()).await;
    history(&app).push(&record("k1")).unwrap();
    let answer = get(address, "/api/v1/kills?after=k1&wait=50ms").await;
    assert_eq!((answer.code(), answer.text().as_str()), (200, "[]\n"));
    let at_once = get(address, "/api/v1/kills?wait=30s").await;
    assert_eq!(ids(&at_once), ["k1"]);
}

#[tokio::test]
async fn a_peer_that_goes_away_stops_waiting() {
    let (address, streams) = with_all_that_may_wait().await;
    drop(streams);
    let freed = async {
        while get(address, "/api/v1/kills?wait=1ms").await.code() != 200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let freed = timeout(PATIENCE, freed).await;
    assert!(freed.is_ok(), "they still wait");
}

/// A server at which as many wait as may at once.
async fn with_all_that_may_wait() -> (SocketAddr, Vec<TcpStream>) {
    let (app, requests) = counted_app(Status::default());
    let (address, _) = start(app).await;
    let mut streams = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /api/v1/kills?wait=300s HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        streams.push(stream);
    }
    until("wait", &requests, 32).await;
    (address, streams)
}

#[tokio::test]
async fn more_than_may_wait_are_told_so() {
    let (address, _streams) = with_all_that_may_wait().await;
    let answer = get(address, "/api/v1/kills?wait=30s").await;
    assert_eq!(answer.code(), 503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(get(address, "/api/v1/kills").await.code(), 200);
}

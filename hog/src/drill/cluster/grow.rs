//! Making the victim grow: by its own request, or by a process beside it.

use anyhow::{Context, Result, bail};
use hyper::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};

use super::DrillOptions;
use crate::drill::evidence::What;
use crate::drill::expect::Grower;
use crate::drill::recorder::Recorder;
use crate::serve::Status;

/// The port of the scenario's containers.
const PORT: u16 = 8080;

/// Grows in steps of one MiB in a process of its own, and ends with its input, so that it does not
/// outlive the drill: `$1` steps, `$2` seconds between them.
const EATER: &str = r#"
exec 3<&0
awk -v steps="$1" -v pause="$2" 'BEGIN {
    for (block = "x"; length(block) < 1048576;) block = block block
    for (i = 1; i <= steps; i++) { held[i] = block i; print "held " i; fflush(); system("sleep " pause) }
    system("sleep 3600")
}' &
eater=$!
{ cat <&3 > /dev/null; kill $eater; } 2> /dev/null &
wait $eater
echo ended $?
"#;

/// Usage, limit and memory.oom.group of the container, on v2 or v1.
const LOOK: &str = r"
cd /sys/fs/cgroup 2> /dev/null || exit 1
if [ -f memory.max ]; then echo version 2; echo limit $(cat memory.max); echo group $(cat memory.oom.group)
else cd memory && echo version 1 && echo limit $(cat memory.limit_in_bytes); fi
";
const USAGE: &str = r"
cd /sys/fs/cgroup; while sleep 0.5; do cat memory.current memory/memory.usage_in_bytes 2> /dev/null; done
";

/// One pod, and how it is made to grow.
#[derive(Clone)]
pub(super) struct Victim {
    pub(super) client: Client,
    pub(super) pods: Api<Pod>,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) grower: Grower,
}

impl Victim {
    /// The container's cgroup, as it sees it.
    pub(super) async fn status(&self) -> Result<Status> {
        match self.grower {
            Grower::Service => self.ask(&self.pod, "GET", "status").await.and_then(|body| {
                serde_json::from_str(&body).context("its /status is not that of `hog serve`")
            }),
            Grower::Exec => {
                let mut process = self.exec(&["sh", "-c", LOOK], false).await?;
                let mut text = String::new();
                let mut stdout = process.stdout().context("no output")?;
                stdout.read_to_string(&mut text).await?;
                Ok(parse_look(&text))
            }
        }
    }

    /// A request to a pod of the scenario, through the API server.
    pub(super) async fn ask(&self, pod: &str, method: &str, path: &str) -> Result<String> {
        let namespace = &self.namespace;
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{PORT}/proxy/{path}");
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Vec::new())?;
        Ok(self.client.request_text(request).await?)
    }

    /// Starts the growth.
    pub(super) async fn grow(&self, options: &DrillOptions, recorder: &Recorder) -> Result<Guard> {
        match self.grower {
            Grower::Service => {
                let path = format!("allocate?mb={}", options.allocate >> 20);
                self.ask(&self.pod, "POST", &path).await?;
                Ok(None)
            }
            Grower::Exec => {
                let steps = (options.allocate >> 20).to_string();
                let pause = options.interval.as_secs_f64().to_string();
                let command = ["sh", "-c", EATER, "sh", &steps, &pause];
                let mut process = self.exec(&command, true).await?;
                let stdin = process.stdin().context("no input")?;
                let stdout = process.stdout().context("no output")?;
                let (recorder, pod) = (recorder.clone(), self.pod.clone());
                tokio::spawn(async move {
                    each_line(stdout, |line| {
                        if let Some(mebibytes) = number_after(line, "held") {
                            recorder.holds(mebibytes << 20);
                        }
                        if let Some(code) = number_after(line, "ended") {
                            recorder.note(Some(&pod), What::GrowerEnded { code });
                        }
                    })
                    .await;
                    // Kept until its output ends.
                    drop(process);
                });
                Ok(Some(Box::new(stdin)))
            }
        }
    }

    /// Gives back what the service holds; a process beside it has ended with its input.
    pub(super) async fn give_back(&self) -> Result<()> {
        match self.grower {
            Grower::Service => self.ask(&self.pod, "POST", "free").await.map(drop),
            Grower::Exec => Ok(()),
        }
    }

    /// Follows the memory of the container until its end.
    pub(super) async fn follow_usage(&self, recorder: &Recorder) -> Result<()> {
        let mut process = self.exec(&["sh", "-c", USAGE], false).await?;
        let stdout = process.stdout().context("no output")?;
        each_line(stdout, |line| {
            if let Ok(bytes) = line.trim().parse() {
                recorder.uses(&self.pod, bytes);
            }
        })
        .await;
        Ok(())
    }

    async fn exec(&self, command: &[&str], stdin: bool) -> Result<kube::api::AttachedProcess> {
        let parameters = AttachParams::default()
            .container(&self.container)
            .stdin(stdin)
            .stderr(false);
        let process = self
            .pods
            .exec(&self.pod, command.iter().copied(), &parameters);
        process.await.with_context(|| {
            format!(
                "cannot exec in {}/{}; the drill needs sh and awk there",
                self.pod, self.container
            )
        })
    }
}

/// The input of the process that grows, which ends with it; a service has none.
pub(super) type Guard = Option<Box<dyn AsyncWrite + Send>>;

async fn each_line(stream: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        each(&line);
    }
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    line.strip_prefix(word)?.trim().parse().ok()
}

/// What [`LOOK`] prints. A number that is no limit is absent.
fn parse_look(text: &str) -> Status {
    let of = |word| text.lines().find_map(|line| number_after(line, word));
    Status {
        limit_bytes: of("limit").filter(|&bytes| bytes < 1 << 62),
        cgroup_version: of("version").and_then(|version| u8::try_from(version).ok()),
        oom_group: of("group").map(|group| group != 0),
        ..Status::default()
    }
}

/// The name of a port for a proxy path, which must be one.
pub(super) fn service_path(namespace: &str, service: &str, path: &str) -> Result<String> {
    let (name, port) = service.split_once(':').unwrap_or((service, ""));
    if name.is_empty() || name.contains('/') || port.contains('/') {
        bail!("`{service}` is no service; try NAME or NAME:PORT");
    }
    let path = path.trim_start_matches('/');
    Ok(format!(
        "/api/v1/namespaces/{namespace}/services/{service}/proxy/{path}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eater_tells_its_steps_and_ends_with_its_input() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let mut shell = Command::new("sh")
            .args(["-c", EATER, "sh", "3", "0.01"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        assert_eq!([next(), next(), next()], ["held 1", "held 2", "held 3"]);
        drop(shell.stdin.take());
        assert_eq!(next(), "ended 143");
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn a_look_tells_v2_from_v1() {
        let v2 = parse_look("version 2\nlimit 134217728\ngroup 1\n");
        assert_eq!(
            (v2.cgroup_version, v2.limit_bytes),
            (Some(2), Some(128 << 20))
        );
        assert_eq!(v2.oom_group, Some(true));
        let unlimited = parse_look("version 2\nlimit max\ngroup 0\n");
        assert_eq!(
            (unlimited.limit_bytes, unlimited.oom_group),
            (None, Some(false))
        );
        let v1 = parse_look("version 1\nlimit 9223372036854771712\n");
        assert_eq!((v1.cgroup_version, v1.limit_bytes), (Some(1), None));
        assert_eq!(parse_look(""), Status::default());
    }

    #[test]
    fn a_service_is_asked_through_the_api_server() {
        assert_eq!(
            service_path("shop", "cart:http", "/readyz").unwrap(),
            "/api/v1/namespaces/shop/services/cart:http/proxy/readyz"
        );
        assert!(service_path("shop", "a/b", "/").is_err());
        assert!(service_path("shop", "", "/").is_err());
    }
}

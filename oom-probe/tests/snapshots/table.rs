//! `oom-probe kills` against a daemon that has recorded some.

use std::{process::Command, sync::Arc};

use super::{hold, pages};

#[tokio::test]
async fn table_of_kills() {
    let mut text = String::new();
    for (flags, daemon) in [
        (&[][..], pages::kills()),
        (&["--limit=2"], pages::kills()),
        (&["--namespace=kube-system"], pages::kills()),
        (&[], pages::nothing()),
    ] {
        let address = pages::start(Arc::new(daemon)).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_oom-probe"));
        command.args(["kills", &format!("--url=http://{address}")]);
        command.args(flags).env("TZ", "UTC");
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        assert!(output.status.success(), "{output:?}");
        text += &format!("$ oom-probe kills {}\n", flags.join(" "));
        text += str::from_utf8(&output.stdout).unwrap();
        text += str::from_utf8(&output.stderr).unwrap();
    }
    hold("kills.txt", &text);
}

//! The command `demo`: a node of its own that shows its stages, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use tests::process::program;

fn demo(folder: &Path) -> Command {
    let mut command = Command::new(program().unwrap());
    command.args(["demo", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_demonstration_ends_with_every_stage_done_by_its_agent() {
    let folder = TempDir::new().unwrap();
    let output = demo(folder.path()).arg("--once").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let failed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{failed}");
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    for (stage, agent) in [
        ("ingestion", "data_acquisition"),
        ("processing", "anomaly_detection"),
        ("anomaly_detection", "anomaly_detection"),
        ("validation", "validation"),
        ("prediction", "prediction"),
        ("human_decision", "human_decision"),
        ("maintenance", "scheduling"),
    ] {
        assert!(rows.contains(&vec![stage, agent, "complete"]), "{stage}: {said}");
    }
    assert!(!failed.contains("\"ERROR\""), "{failed}");
}

#[test]
fn a_demonstration_that_is_told_to_stop_ends_in_order_and_keeps_what_happened() {
    // Given a demonstration that waits for a person's decision,
    let folder = TempDir::new().unwrap();
    let mut running = demo(folder.path()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("validation")), "it ended before it asked anybody");
    // when it is told to stop,
    let asked = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(asked.success());
    // then it says that it is not through and where its folder is,
    let mut failed = String::new();
    running.stderr.take().unwrap().read_to_string(&mut failed).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{failed}");
    assert!(failed.contains("stopped before all stages were through"), "{failed}");
    assert!(failed.contains(folder.path().to_str().unwrap()), "{failed}");
    // and the store was closed: nothing is left in its WAL.
    let kept = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let [kept] = kept.collect::<Vec<_>>().try_into().expect("one folder of one demonstration");
    assert!(kept.join("store.sqlite").is_file());
    let wal = std::fs::metadata(kept.join("store.sqlite-wal")).map_or(0, |wal| wal.len());
    assert_eq!(wal, 0, "the store was not closed");
}

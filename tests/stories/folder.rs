//! Folders on which no node can or may run: each ends it with the code that the manual tells.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use tempfile::TempDir;
use tests::process::Process;

/// Why no node starts on `folder`.
fn refusal(folder: &Path) -> String {
    Process::start(folder, None, &[]).expect_err("no node starts there").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_one_folder_ends_with_75_and_the_first_goes_on() {
    let folder = TempDir::new().unwrap();
    let first = Process::start(folder.path(), None, &[]).unwrap();
    let second = refusal(folder.path());
    assert!(second.contains("exit status: 75") && second.contains("another process uses"), "{second}");
    assert_eq!(first.client().get("/readyz").await.status, 200);
    first.kill().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_to_ends_the_node_with_75() {
    // Nobody may make a folder there, whatever their rights.
    let refused = refusal(Path::new("/proc/smart-maintenance"));
    assert!(refused.contains("exit status: 75") && refused.contains("/proc/smart-maintenance"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_ends_the_node_with_78() {
    // Given a store that was closed in an orderly way or not,
    let folder = TempDir::new().unwrap();
    let node = Process::start(folder.path(), None, &[]).unwrap();
    node.kill().unwrap();
    // when somebody writes over its pages, then the next start finds it,
    let file = folder.path().join("store.sqlite");
    let n_bytes = std::fs::metadata(&file).unwrap().len();
    let mut store = File::options().write(true).open(&file).unwrap();
    store.seek(SeekFrom::Start(n_bytes / 2)).unwrap();
    store.write_all(&vec![0xa5; usize::try_from(n_bytes / 2).unwrap()]).unwrap();
    let damaged = refusal(folder.path());
    assert!(damaged.contains("exit status: 78") && damaged.contains("store corrupt"), "{damaged}");
    // and so it is when it is no store at all.
    std::fs::write(&file, b"not a database, and long enough to be looked at as one").unwrap();
    let none = refusal(folder.path());
    assert!(none.contains("exit status: 78"), "{none}");
}

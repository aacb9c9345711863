//! A whole node inside the test's own process.

use crate::client::Client;
use config::Config;
use control_plane::node::Node;
use jiff::Timestamp;
use runtime::faults::Faults;
use runtime::{Child, Clock};
use std::path::Path;
use tempfile::TempDir;

/// A node on a folder of its own.
pub struct TestNode {
    node: Node,
    folder: Option<TempDir>,
    client: Client,
}

impl TestNode {
    /// A node on an empty folder, with the settings as they ship.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    /// A node on an empty folder, with settings changed by `change`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_with(change: impl FnOnce(Config) -> Config) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let mut started = Self::start_in(folder.path(), None, change).await;
        started.folder = Some(folder);
        started
    }

    /// A node on an empty folder, whose time is `clock`'s.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_at(clock: Clock) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let node = Node::start(settings(folder.path()), clock).await.expect("the node starts");
        let mut started = Self::around(node, None);
        started.folder = Some(folder);
        started
    }

    /// A node on `folder`; `key` is needed when the folder is not empty.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_in(folder: &Path, key: Option<&str>, change: impl FnOnce(Config) -> Config) -> Self {
        Self::start_harmed(folder, key, change, Faults::default()).await
    }

    /// The same with agents beside those that the program has.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_in_with(
        folder: &Path,
        key: Option<&str>,
        change: impl FnOnce(Config) -> Config,
        more: Vec<Child>,
    ) -> Self {
        let node = Node::start_with(change(settings(folder)), Clock::System, more).await.expect("the node starts");
        Self::around(node, key)
    }

    /// A node on `folder` that is harmed by `faults`; `key` is needed when the folder is not empty.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_harmed(
        folder: &Path,
        key: Option<&str>,
        change: impl FnOnce(Config) -> Config,
        faults: Faults,
    ) -> Self {
        let node = Node::start_harmed(change(settings(folder)), Clock::System, faults).await.expect("the node starts");
        Self::around(node, key)
    }

    fn around(node: Node, key: Option<&str>) -> Self {
        let key = node.first_key().map(str::to_owned).or(key.map(str::to_owned));
        let client = Client::new(format!("http://{}", node.address()), key);
        Self { node, folder: None, client }
    }

    /// The node keeps `folder`, on which it was started.
    pub fn keep(&mut self, folder: TempDir) {
        self.folder = Some(folder);
    }

    /// The time, as nodes see it.
    pub fn wall_clock() -> Timestamp {
        Clock::System.now()
    }

    /// A client with all scopes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The node itself, for faults.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Stops the node in an orderly way; gives its folder back.
    pub async fn stop(self) -> Option<TempDir> {
        self.node.stop().await;
        self.folder
    }
}

/// The settings as they ship, for a node on `folder` and a port of its own.
fn settings(folder: &Path) -> Config {
    Config::defaults()
        .with("store.data_dir", folder.to_string_lossy().into_owned())
        .and_then(|config| config.with("server.listen", "127.0.0.1:0"))
        .expect("the settings are there")
}

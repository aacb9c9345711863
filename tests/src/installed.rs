//! Programs of the distribution that a test runs beside a node.

use std::path::{Path, PathBuf};

/// Where the program `name` is, which the Debian package `package` brings.
///
/// # Panics
///
/// It is not installed.
pub fn program(name: &str, package: &str) -> PathBuf {
    let folders = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/bin"];
    let found = folders.into_iter().map(|folder| Path::new(folder).join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: apt-get install --no-install-recommends -y {package}"))
}

/// A port of this machine that was free a moment ago.
///
/// # Panics
///
/// None is free.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

//! Who may use whom. The table is the one in `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crate, its folder, what of ours it may use, what of ours its tests may use beyond that.
const LAYERS: [(&str, &str, &[&str], &[&str]); 9] = [
    ("domain", "runtime/domain", &[], &[]),
    ("analytics", "agents/analytics", &[], &[]),
    ("config", "config", &[], &[]),
    ("persistence", "persistence", &["domain"], &[]),
    ("simulations", "simulations", &["domain"], &[]),
    ("runtime", "runtime", &["domain", "config", "persistence"], &[]),
    ("agents", "agents", &["domain", "analytics", "config", "runtime", "persistence"], &["simulations"]),
    ("control-plane", "control-plane", &["domain", "config", "runtime", "persistence", "agents", "simulations"], &[]),
    (
        "tests",
        "tests",
        &["domain", "analytics", "config", "persistence", "simulations", "runtime", "agents", "control-plane"],
        &[],
    ),
];

/// Libraries that only one crate may name.
const OWNED: [(&str, &str); 4] =
    [("ractor", "runtime"), ("sea-orm", "persistence"), ("sea-orm-migration", "persistence"), ("redis", "persistence")];

/// The only files of the control plane that may name agents or simulations.
const ASSEMBLY: [&str; 9] = [
    "main.rs",
    "node.rs",
    "app.rs",
    "training.rs",
    "cli/demo.rs",
    "cli/train.rs",
    "routes/demo.rs",
    "routes/ml.rs",
    "routes/simulate.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

fn used(folder: &str, section: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("each crate has a Cargo.toml");
    let manifest: toml::Table = text.parse().expect("a Cargo.toml is TOML");
    let table = manifest.get(section).and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn each_crate_uses_only_the_layers_below_it() {
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, ..)| *name).collect();
    for (name, folder, may, tests_may) in LAYERS {
        let may: BTreeSet<&str> = may.iter().copied().collect();
        let tests_may: BTreeSet<&str> = tests_may.iter().copied().collect();
        for used in used(folder, "dependencies").iter().filter(|used| ours.contains(used.as_str())) {
            assert!(may.contains(used.as_str()), "{name} must not use {used}");
        }
        for used in used(folder, "dev-dependencies").iter().filter(|used| ours.contains(used.as_str())) {
            assert!(
                may.contains(used.as_str()) || tests_may.contains(used.as_str()),
                "the tests of {name} must not use {used}"
            );
        }
    }
}

#[test]
fn each_owned_library_is_named_by_its_owner_alone() {
    let owners: BTreeMap<&str, &str> = OWNED.into_iter().collect();
    for (name, folder, ..) in LAYERS {
        for section in ["dependencies", "dev-dependencies"] {
            for used in used(folder, section) {
                let owner = owners.get(used.as_str());
                assert!(owner.is_none_or(|owner| *owner == name), "{name} must not use {used}");
            }
        }
    }
}

#[test]
fn the_control_plane_names_agents_and_simulations_only_where_a_node_is_put_together() {
    let src = root().join("control-plane/src");
    let mut folders = vec![src.clone()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            let name = path.strip_prefix(&src).expect("it lies below").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            let names = text.contains("agents::") && text.contains("use agents::")
                || text.contains(" agents::tree")
                || text.contains("simulations::");
            let allowed = ASSEMBLY.iter().any(|file| name == *file || name.starts_with(file.trim_end_matches(".rs")));
            assert!(!names || allowed, "{name} names agents or simulations");
        }
    }
    assert!(10 < seen, "the control plane was looked at, {seen} files");
}

#[test]
fn nothing_else_lies_at_the_top_level() {
    let expected: BTreeSet<&str> =
        ["runtime", "agents", "control-plane", "persistence", "simulations", "config", "tests"].into_iter().collect();
    let ignored = ["target", "data"];
    for entry in std::fs::read_dir(root()).expect("the workspace can be read") {
        let entry = entry.expect("an entry can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().expect("an entry has a type").is_dir();
        if is_folder && !name.starts_with('.') && !ignored.contains(&name.as_str()) {
            assert!(expected.contains(name.as_str()), "{name} is a folder too many");
        }
    }
}

/// The packages that the product is built on; each has its place in `ARCHITECTURE.md`.
const PACKAGES: [&str; 13] = [
    "ractor",
    "tokio",
    "warp",
    "sea-orm",
    "redis",
    "serde",
    "ndarray",
    "linfa",
    "statrs",
    "tracing",
    "prometheus-client",
    "dashmap",
    "uuid",
];

#[test]
fn each_package_is_used_where_the_architecture_says() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is an ARCHITECTURE.md");
    let paragraph = text.split("\n\n").find_map(|paragraph| paragraph.strip_prefix("**Packages.**"));
    let entries = paragraph.expect("it has a paragraph on packages").replace('\n', " ");
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<String>>();
    let mut places = BTreeMap::new();
    for (packages, place) in entries.split('·').map(|entry| entry.split_once(':').expect("packages: place")) {
        let place = quoted(place).remove(0);
        places.extend(quoted(packages).into_iter().map(|package| (package, place.clone())));
    }
    for package in PACKAGES {
        let place = places.get(package).unwrap_or_else(|| panic!("{package} has no place in ARCHITECTURE.md"));
        let source = std::fs::read_to_string(root().join(place)).unwrap_or_else(|error| panic!("{place}: {error}"));
        let shipped = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let named = package.replace('-', "_");
        let uses = |line: &str| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(&format!("{named}::")) && !code.contains(&format!("_{named}::"))
        };
        assert!(shipped.lines().any(uses), "{place} does not use {package}");
    }
}

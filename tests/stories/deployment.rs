//! The image and the compose file start as they are documented, and what the old system's environment set is
//! understood or told to be without effect.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use tests::process::program;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)).unwrap()
}

/// The variables that the image sets.
fn of_the_image() -> BTreeMap<String, String> {
    let text = file("Dockerfile").replace("\\\n", " ");
    let set = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = set.flat_map(str::split_whitespace).map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The variables that the compose file sets for the node.
fn of_compose() -> BTreeMap<String, String> {
    let text = file("compose.yaml");
    let node = text.split("    environment:\n").nth(1).unwrap();
    let lines = node.lines().take_while(|line| line.starts_with("      "));
    let lines = lines.map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(": ").unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect()
}

/// Whether a node would start with `variables` and no others, what the settings are then, and what is said of them.
fn checked(variables: &BTreeMap<String, String>) -> (bool, String, String) {
    let check = Command::new(program().unwrap()).args(["config", "check"]).env_clear().envs(variables).output();
    let Output { status, stdout, stderr } = check.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn compose_starts_behind_its_proxy_and_the_image_alone_says_what_it_needs() {
    let (image, compose) = (of_the_image(), of_compose());
    assert_eq!(image["SMART_MAINTENANCE__SERVER__LISTEN"], "0.0.0.0:8000");
    // The image alone would speak plain HTTP to everybody: it refuses, and names what to set.
    let (starts, _, told) = checked(&image);
    assert!(!starts, "{told}");
    for setting in ["server.listen", "server.behind_proxy", "tls.certificate_file", "tls.key_file"] {
        assert!(told.contains(setting), "{setting}: {told}");
    }
    // The compose file sets it.
    let both: BTreeMap<String, String> = image.into_iter().chain(compose).collect();
    let (starts, settings, told) = checked(&both);
    assert!(starts, "{told}");
    let line = |start: &str| settings.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"));
    assert!(line("server.behind_proxy = true").contains("SMART_MAINTENANCE__SERVER__BEHIND_PROXY"));
    assert!(line("server.trusted_proxies = [").contains("172.16.0.0/12"));
}

#[test]
fn settings_that_an_agent_refuses_are_told_before_a_node_starts() {
    let variable = "SMART_MAINTENANCE__AGENTS__VALIDATION__PENDING_MAX".to_owned();
    let (starts, _, told) = checked(&BTreeMap::from([(variable, "0".to_owned())]));
    assert!(!starts && told.contains("[agents.validation]") && told.contains("pending_max"), "{told}");
}

#[test]
fn every_name_of_the_old_environment_is_understood_or_told_to_be_without_effect() {
    for (name, fate) in config::OLD_NAMES {
        let value = match *name {
            "API_HOST" => "127.0.0.1",
            "FROM_EMAIL" => "plant@example.org",
            "SMTP_HOST" | "SMTP_USER" => "mail.example.org",
            "ALLOW_ANONYMOUS_API_ACCESS" | "DISABLE_MLFLOW_MODEL_LOADING" | "HEALTHCHECK_ENFORCE_DEPENDENCIES" => "Yes",
            "LOG_LEVEL" => "WARNING",
            "MLFLOW_TRACKING_URI" => "http://nobody:hidden@localhost/",
            "REDIS_URL" => "redis://nobody:hidden@localhost/",
            "API_KEY" | "API_KEYS" | "ALLOWED_API_KEYS" | "SMTP_PASSWORD" => "hidden",
            name if name.ends_with("THRESHOLD") || name.ends_with("FACTOR") => "0.8",
            _ => "9",
        };
        let mut variables = BTreeMap::from([((*name).to_owned(), value.to_owned())]);
        if *name == "SMTP_HOST" {
            // A node that sends mail does not start without knowing in whose name.
            variables.insert("FROM_EMAIL".to_owned(), "plant@example.org".to_owned());
        }
        let (starts, settings, told) = checked(&variables);
        assert!(starts, "{name}: {told}");
        let lines: Vec<&str> = settings.lines().filter(|line| line.contains(name)).collect();
        match fate {
            config::Fate::Setting(setting, _) => {
                assert_eq!(lines.len(), 1, "{name}: {lines:?}");
                assert!(lines[0].starts_with(&format!("{setting} = ")), "{name}: {lines:?}");
            }
            config::Fate::Ignored(reason) => {
                assert_eq!(lines, [format!("# {name} has no effect: {reason}")], "{name}");
                assert_eq!(told.matches(&format!("{name:?}")).count(), 1, "{name}: {told}");
            }
            config::Fate::Secret => {
                assert!(!lines.is_empty(), "{name}: {settings}");
                assert!(!settings.contains("hidden") && !told.contains("hidden"), "{name}: {settings}{told}");
            }
        }
    }
}

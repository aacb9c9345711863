//! `demo`: a node on a fresh folder with a machine that fails, and how that gets repaired, stage by stage.
//!
//! It asks the node over HTTP, as any client would, and knows nothing else about it.

use super::{Exit, Options, output, serve};
use anyhow::{Context as _, bail};
use config::Config;
use control_plane::Node;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, RequestBuilder};
use runtime::Clock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End when the machine's repair is booked, instead of serving on: exits with 0 only if every stage was done.
    #[arg(long)]
    once: bool,
    /// Show what one agent takes in and says, a line for each event, on standard error.
    #[arg(long, value_name = "NAME")]
    agent_log: Option<String>,
}

impl Args {
    /// The agent that is to be followed.
    pub(crate) fn followed(&self) -> Option<&str> {
        self.agent_log.as_deref()
    }
}

pub(crate) async fn run(args: Args, options: &Options, config: Config) -> anyhow::Result<Exit> {
    let folder = fresh_folder(options);
    let dir = folder.to_str().context("the folder's name must be Unicode")?;
    let mut config = config.with("store.data_dir", dir)?;
    if args.once {
        // Nobody is there to answer.
        config = config.with("demo.decision_wait_seconds", 0)?;
        // A second demo at the same time is no reason to fail.
        if options.listen.is_none() {
            config = config.with("server.listen", "127.0.0.1:0")?;
        }
    }
    output::line(format_args!("data folder: {dir}"))?;
    let node = Node::start(config, Clock::System).await?;
    if let Some(name) = &args.agent_log {
        let tree = node.runtime().status().await?;
        let names: Vec<&str> = tree.iter().map(|agent| agent.name).collect();
        anyhow::ensure!(names.contains(&name.as_str()), "there is no agent called {name}, but {}", names.join(", "));
    }
    output::line(serve::announcement(&node).join("\n"))?;
    let key = match node.first_key() {
        Some(key) => Some(key.to_owned()),
        None => own_key()?,
    };
    let api = Api {
        client: Client::builder().timeout(REQUEST_TIMEOUT).build()?,
        url: format!("http://{}", node.address()),
        key,
    };
    let ran = tokio::select! {
        ran = golden_path(&api, args.once) => ran,
        fatal = node.failed() => Err(anyhow::anyhow!("the node cannot go on without its {}", fatal.part)),
        asked = serve::asked_to_stop() => {
            asked?;
            node.stop().await;
            anyhow::bail!("stopped before all stages were through; what happened until then is in {dir}");
        }
    };
    if !args.once {
        if let Err(error) = ran {
            output::complaint(&error);
        }
        api.invite("look around:")?;
        output::line("the node goes on; press Ctrl-C to stop it")?;
        return serve::until_stopped(node).await;
    }
    // A run that failed leaves its folder behind to be looked into.
    let is_kept = options.data_dir.is_some() || ran.is_err();
    let heading = if is_kept {
        let (program, address) = (std::env::current_exe()?, node.address());
        output::line("this node ends now; to look around, start one on its folder:")?;
        output::line(format_args!("  {} serve --data-dir {dir} --listen {address}", program.display()))?;
        "and ask it from another shell:"
    } else {
        "this node ends now and its folder goes; leave out --once, or name a --data-dir, and these lines are answered:"
    };
    api.invite(heading)?;
    node.stop().await;
    ran?;
    if !is_kept {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {dir}"))?;
    }
    Ok(Exit::Done)
}

/// A folder that nobody has used: in the one that was named, or where temporary things go.
fn fresh_folder(options: &Options) -> PathBuf {
    let parent = options.data_dir.clone().unwrap_or_else(std::env::temp_dir);
    let unique = Uuid::new_v4().simple().to_string();
    parent.join(format!("smart-maintenance-demo-{}", &unique[..12]))
}

/// The key that lets this program into its own node when it was given keys from outside.
fn own_key() -> anyhow::Result<Option<String>> {
    for name in ["API_KEY", "API_KEYS", "ALLOWED_API_KEYS"] {
        let keys = config::secret(name)?.unwrap_or_default();
        if let Some(key) = keys.split(',').map(str::trim).find(|key| !key.is_empty()) {
            return Ok(Some(key.to_owned()));
        }
    }
    Ok(None)
}

#[derive(Debug, Deserialize)]
struct Started {
    correlation_id: String,
    status_url: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    status: String,
    steps: Vec<Step>,
    errors: Vec<Problem>,
}

#[derive(Clone, Debug, Deserialize)]
struct Step {
    name: String,
    status: String,
    agent: String,
    duration_ms: Option<i64>,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Problem {
    message: String,
}

#[derive(Debug, Deserialize)]
struct Question {
    id: String,
    correlation_id: String,
}

/// Starts a run, shows how it goes on, and ends when it has.
async fn golden_path(api: &Api, once: bool) -> anyhow::Result<()> {
    let start = api.post("/api/v1/demo/golden-path?include_decision=true");
    let started: Started = answer(start).await.context("the golden path cannot be started")?;
    output::line(format_args!("golden path {}", started.correlation_id))?;
    let bar = spinner();
    let (mut n_shown, mut invited) = (0, once);
    let status = loop {
        let status: Status = answer(api.get(&started.status_url)).await?;
        let done = status.steps.iter().take_while(|step| step.status == "complete").count();
        for step in status.steps.iter().take(done).skip(n_shown) {
            bar.suspend(|| output::line(row(step)))?;
        }
        n_shown = n_shown.max(done);
        if status.status != "running" {
            break status;
        }
        if let Some(step) = status.steps.get(done) {
            bar.set_message(format!("{}: {}", step.name, step.message));
            if step.name == "human_decision"
                && !invited
                && let Some(question) = api.question(&started.correlation_id).await?
            {
                bar.suspend(|| api.invite_to_decide(&question))?;
                invited = true;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.finish_and_clear();
    output::line(table(&status.steps))?;
    if status.status == "complete" {
        return Ok(());
    }
    let why: Vec<&str> = status.errors.iter().map(|problem| problem.message.as_str()).collect();
    bail!("the golden path failed: {}", why.join("; "))
}

/// What is under way, for whoever watches a terminal.
fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is right");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(2 * LOOK_EVERY);
    bar
}

fn row(step: &Step) -> String {
    format!("{:<18} {}", step.name, step.message)
}

/// The stages with who did each and how long it took.
fn table(steps: &[Step]) -> String {
    let mut lines = vec![format!("{:<18} {:<18} {:<9} {:>9}", "stage", "agent", "status", "duration")];
    for step in steps {
        let duration = step.duration_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        lines.push(format!("{:<18} {:<18} {:<9} {duration:>9}", step.name, step.agent, step.status));
    }
    lines.join("\n")
}

/// The node's API.
struct Api {
    client: Client,
    url: String,
    key: Option<String>,
}

impl Api {
    fn get(&self, path: &str) -> RequestBuilder {
        self.keyed(self.client.get(format!("{}{path}", self.url)))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.keyed(self.client.post(format!("{}{path}", self.url)))
    }

    fn keyed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    /// The start of a line that asks the node from a shell.
    fn curl(&self, path: &str) -> String {
        curl(&self.url, self.key.as_deref(), path)
    }

    /// What a person is asked in the run, if it is at that already.
    async fn question(&self, correlation: &str) -> anyhow::Result<Option<Question>> {
        let questions: Vec<Question> = answer(self.get("/api/v1/decisions/pending")).await?;
        Ok(questions.into_iter().find(|question| question.correlation_id == correlation))
    }

    /// Tells how to answer it.
    fn invite_to_decide(&self, question: &Question) -> io::Result<()> {
        let body = serde_json::json!({ "request_id": question.id, "decision": "approve", "operator_id": "me" });
        output::line("a person is asked; decide yourself, or wait for the demonstration to approve:")?;
        output::line(format_args!("  {} --json '{body}'", self.curl("/api/v1/decisions/submit")))
    }

    /// Lines to paste into a shell.
    fn invite(&self, heading: &str) -> io::Result<()> {
        output::line(heading)?;
        for path in [
            "/api/v1/cases",
            "/api/v1/maintenance/scheduled",
            "/api/v1/decisions",
            "/api/v1/agents",
            "/api/v1/sensors/readings?limit=3",
        ] {
            output::line(format_args!("  {}", self.curl(path)))?;
        }
        Ok(())
    }
}

fn curl(url: &str, key: Option<&str>, path: &str) -> String {
    let key = key.map(|key| format!(" -H 'X-API-Key: {key}'")).unwrap_or_default();
    format!("curl -s{key} '{url}{path}'")
}

/// What the node answers, or its own words on why it does not.
async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    let response = request.send().await?;
    let status = response.status();
    if !status.is_success() {
        bail!("the node answers {status}: {}", response.text().await?);
    }
    Ok(response.json().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, status: &str, duration_ms: Option<i64>) -> Step {
        let (agent, message) = ("validation".to_owned(), "case opened".to_owned());
        Step { name: name.to_owned(), status: status.to_owned(), agent, duration_ms, message }
    }

    #[test]
    fn the_table_names_stage_agent_and_duration() {
        let steps = [step("validation", "complete", Some(12)), step("prediction", "pending", None)];
        assert_eq!(
            table(&steps),
            "stage              agent              status     duration\n\
             validation         validation         complete      12 ms\n\
             prediction         validation         pending           -"
        );
    }

    #[test]
    fn a_line_to_paste_carries_the_key_and_quotes_the_address() {
        let url = "http://127.0.0.1:1";
        assert_eq!(curl(url, Some("smk_x"), "/a?b=c&d"), "curl -s -H 'X-API-Key: smk_x' 'http://127.0.0.1:1/a?b=c&d'");
        assert_eq!(curl(url, None, "/a"), "curl -s 'http://127.0.0.1:1/a'");
    }

    #[test]
    fn each_demo_has_a_folder_of_its_own() {
        let options = Options { data_dir: Some("base".into()), listen: None, config: None };
        let (one, other) = (fresh_folder(&options), fresh_folder(&options));
        assert_ne!(one, other);
        assert!(one.starts_with("base"));
    }
}

//! Times predictions with their explanation, asked for over sixteen connections at once.
//!
//! Build the program first: `cargo build --release -p control-plane`.

use anyhow::ensure;
use clap::Parser;
use serde_json::json;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tests::process::Process;
use tests::slow::quantile;
use tokio::task::JoinSet;

/// Requests under way at once, each on a connection of its own.
const N_CONNECTIONS: u32 = 16;
/// Of 99 in 100 answers.
const TARGET: Duration = Duration::from_millis(5);

/// Measures how long predictions take.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds for which answers are timed.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The model that is asked.
    #[arg(long, default_value = "ai4i_classifier_randomforest_engineered")]
    model: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    // No other model is trained meanwhile.
    let quiet = [("SMART_MAINTENANCE__MODELS__TRAIN_AFTER_SECONDS", "3600")];
    let node = Process::start_with(folder.path(), None, &[], &quiet)?;
    let client = node.client().clone();
    let body = |no: u32| {
        json!({
            "model_name": args.model,
            "features": {
                "type": no % 3, "air_temperature_k": 298.0 + f64::from(no % 50) / 10.0,
                "process_temperature_k": 308.0 + f64::from(no % 37) / 10.0, "rotational_speed_rpm": 1300 + no % 500,
                "torque_nm": 20.0 + f64::from(no % 400) / 10.0, "tool_wear_min": no % 240,
            },
        })
    };
    // The first one trains the model.
    let first = client.post("/api/v1/ml/predict", &body(0)).await.ok();
    ensure!(first["shap_values"].is_object(), "an explanation comes along: {first}");
    let during = Duration::from_secs(args.seconds);
    let mut askers = JoinSet::new();
    for asker in 0..N_CONNECTIONS {
        let bodies: Vec<_> = (0..500).map(|no| body(asker * 500 + no)).collect();
        let client = client.clone();
        askers.spawn(async move {
            let (began, mut took) = (Instant::now(), Vec::new());
            for body in bodies.iter().cycle() {
                if during <= began.elapsed() {
                    break;
                }
                let asked = Instant::now();
                let answer = client.post("/api/v1/ml/predict", body).await;
                took.push(asked.elapsed());
                ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.body);
            }
            Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = askers.join_next().await {
        took.extend(ended??);
    }
    took.sort_unstable();
    let p99 = quantile(&took, 0.99);
    writeln!(
        std::io::stdout(),
        "{} predictions with explanation by {} over {N_CONNECTIONS} connections: {:.0}/s, p50 {:.2?}, p99 {p99:.2?} \
         (target {TARGET:?}), largest {:.2?}",
        took.len(),
        args.model,
        took.len() as f64 / during.as_secs_f64(),
        quantile(&took, 0.5),
        quantile(&took, 1.0),
    )?;
    ensure!(p99 <= TARGET, "the target is missed");
    Ok(())
}

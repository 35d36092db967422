//! Requests that the gateway kept, run against another version.

use std::path::PathBuf;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;
use sluis_fixture::{Fixture, Outcome};
use sluis_model::config::default_call_limits;

use super::PluginError;
use super::project::Project;
use super::remote::{Target, moment};
use super::test::load;
use crate::admin::text;
use crate::failure::Failure;

/// Say which requests the gateway kept of a tenant that wants that (`record` in its settings)
#[derive(Debug, clap::Args)]
pub struct Recordings {
    #[command(flatten)]
    target: Target,
}

/// Run a request that the gateway kept against what was built, and say in what the decision differs
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    target: Target,
    /// Which: a request's correlation id
    id: String,
    /// Against this component
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Keep it as a fixture of this name
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
}

/// Lists.
pub async fn list(args: &Recordings) -> Result<(), Failure> {
    let path = format!("{}/recordings", args.target.tenant());
    let recordings = args.target.ask(Method::GET, path, Bytes::new()).await?.json();
    for recording in recordings.as_array().into_iter().flatten() {
        let [id, plugin, request] = ["id", "plugin", "request"].map(|field| text(recording, field));
        crate::say(&format!("{}  {id}  {plugin}  {request}", moment(&recording["at"])))?;
    }
    Ok(())
}

/// Replays.
pub async fn run(args: &Replay) -> Result<(), Failure> {
    let path = format!("{}/recordings/{}", args.target.tenant(), args.id);
    let recording = args.target.ask(Method::GET, path, Bytes::new()).await?.json();
    let fixture = fixture(&recording, &args.id)?;
    if let Some(name) = &args.save {
        save(args, name, &fixture)?;
    }
    let component = match &args.against {
        Some(component) => component.clone(),
        None => Project::open(&args.target.folder.dir)?.component(),
    };
    let plugin = load(&component).await?;
    let Outcome { called, complaints } = sluis_fixture::run(&plugin, &fixture, &default_call_limits()).await;
    crate::say(&format!("{} decided {}", text(&recording, "plugin"), moment(&recording["at"])))?;
    for complaint in &complaints {
        crate::say(&format!("    {complaint}"))?;
    }
    if complaints.is_empty() {
        return Ok(crate::say(&format!("{} decides the same", component.display()))?);
    }
    for line in &called.logs {
        crate::say(&format!("    log {}: {}", line.level.label(), line.message))?;
    }
    Err(PluginError::Fixtures { failed: 1, all: 1 }.into())
}

fn fixture(recording: &Value, id: &str) -> Result<Fixture, PluginError> {
    let fixture = serde_json::from_value(recording["fixture"].clone());
    fixture.map_err(|error| PluginError::Project { path: id.into(), reason: format!("not a recording: {error}") })
}

fn save(args: &Replay, name: &str, fixture: &Fixture) -> Result<(), Failure> {
    let path = Project::open(&args.target.folder.dir)?.fixtures().join(name).with_extension("yaml");
    if path.exists() {
        return Err(PluginError::Project { path, reason: "there is such a fixture already".to_owned() }.into());
    }
    let text = serde_saphyr::to_string(fixture)
        .map_err(|error| PluginError::Project { path: path.clone(), reason: error.to_string() })?;
    std::fs::write(&path, text).map_err(PluginError::io(&path))?;
    Ok(crate::say(&format!("kept as {}", path.display()))?)
}

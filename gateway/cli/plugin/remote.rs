//! What is asked of a running gateway: push, deploy, roll back, look.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::{Map, Value, json};
use sluis_model::rollout::Version;
use sluis_model::signature::SignedAs;
use time::format_description::well_known::Rfc3339;

use super::PluginError;
use super::fixtures;
use super::project::{Folder, Project};
use super::sign::Sign;
use crate::admin::{Admin, text};
use crate::client::Reply;
use crate::failure::Failure;

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Which gateway, whose plugin, and who asks.
#[derive(Debug, clap::Args)]
pub struct Target {
    #[command(flatten)]
    pub folder: Folder,
    /// Whose plugin it is
    #[arg(long, value_name = "TENANT")]
    tenant: String,
    #[command(flatten)]
    admin: Admin,
}

/// Upload what was built as the version that `plugin.yaml` names
#[derive(Debug, clap::Args)]
pub struct Push {
    #[command(flatten)]
    target: Target,
    /// Without the fixtures, which otherwise go with the component and which the gateway runs before it keeps it
    #[arg(long)]
    no_fixtures: bool,
    #[command(flatten)]
    sign: Sign,
}

/// Let a version serve, at once or on trial
#[derive(Debug, clap::Args)]
pub struct Deploy {
    #[command(flatten)]
    target: Target,
    /// Which; the one that `plugin.yaml` names where absent
    #[arg(value_name = "VERSION")]
    which: Option<Version>,
    /// Try it: it serves this many percent of requests
    #[arg(long, value_name = "PERCENT", conflicts_with = "shadow")]
    canary: Option<u8>,
    /// Try it: it is asked beside the one that serves for this many percent of requests, and compared
    #[arg(long, value_name = "PERCENT")]
    shadow: Option<u8>,
    /// Promote the canary after so many seconds if it has held
    #[arg(long, value_name = "SECONDS", requires = "canary")]
    promote_after: Option<u64>,
    /// For the audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
}

/// An order without more to say.
#[derive(Debug, clap::Args)]
pub struct Plain {
    #[command(flatten)]
    target: Target,
    /// For the audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
}

/// Go back to a version that served before
#[derive(Debug, clap::Args)]
pub struct RollBack {
    #[command(flatten)]
    target: Target,
    /// Which; the last one where absent
    #[arg(value_name = "VERSION")]
    which: Option<Version>,
    /// For the audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
}

/// Let a version out of quarantine
#[derive(Debug, clap::Args)]
pub struct Release {
    #[command(flatten)]
    target: Target,
    /// Which
    #[arg(value_name = "VERSION")]
    which: Version,
    /// For the audit
    #[arg(long, short = 'm')]
    reason: Option<String>,
}

/// Say what serves, and what a trial shows
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    target: Target,
}

/// Say what was done with the tenant's plugins, by whom and why
#[derive(Debug, clap::Args)]
pub struct Audit {
    #[command(flatten)]
    target: Target,
}

/// Say what the tenant's plugins logged last, and why they failed
#[derive(Debug, clap::Args)]
pub struct Logs {
    #[command(flatten)]
    target: Target,
    /// Go on until interrupted
    #[arg(long, short)]
    follow: bool,
}

/// Uploads.
pub async fn push(args: &Push) -> Result<(), Failure> {
    let project = Project::open(&args.target.folder.dir)?;
    let path = project.component();
    let built = std::fs::read(&path).map_err(PluginError::io(&path))?;
    let none = args.no_fixtures || !project.fixtures().exists();
    let fixtures = if none { Vec::new() } else { fixtures::read(&project.fixtures(), &[])? };
    let component = match fixtures.as_slice() {
        [] => built,
        fixtures => sluis_fixture::attach(&built, fixtures)
            .map_err(|error| PluginError::Project { path: project.fixtures(), reason: error.to_string() })?,
    };
    let version = &project.manifest.version;
    let signed_as = SignedAs { tenant: &args.target.tenant, plugin: &project.manifest.name, version };
    let component = args.sign.apply(component, signed_as)?;
    let path = args.target.plugin(&project, &format!("/versions/{version}"));
    let answer = args.target.ask(Method::PUT, path, component.into()).await?;
    let report = &answer.json()["report"];
    let told = match answer.status.as_u16() {
        201 => "kept",
        _ => "was there already",
    };
    let compiled = report["compiled_in_ms"].as_u64().map(|ms| format!(", compiled in {ms} ms")).unwrap_or_default();
    let name = &project.manifest.name;
    crate::say(&format!(
        "{name} {version} {told}: {} bytes, digest {}{compiled}",
        report["size"],
        text(report, "digest")
    ))?;
    for fixture in report["fixtures"].as_array().into_iter().flatten() {
        let (name, cpu) = (text(fixture, "name"), &fixture["cpu_us"]);
        crate::say(&format!(
            "✔ {name}  {cpu} µs  {} KiB  {} host calls",
            fixture["memory_kib"], fixture["host_calls"]
        ))?;
    }
    Ok(())
}

/// Deploys.
pub async fn deploy(args: &Deploy) -> Result<(), Failure> {
    let project = Project::open(&args.target.folder.dir)?;
    let version = args.which.clone().unwrap_or_else(|| project.manifest.version.clone());
    let mut order = Map::from_iter([("version".to_owned(), json!(version.to_string()))]);
    let trial = args.canary.map(|share| json!({ "canary": share }));
    if let Some(trial) = trial.or(args.shadow.map(|share| json!({ "shadow": share }))) {
        order.insert("trial".to_owned(), trial);
    }
    if let Some(after) = args.promote_after {
        order.insert("promote_after".to_owned(), json!(after));
    }
    args.target.order("deploy", order, args.reason.as_deref()).await
}

/// Promotes or abandons.
pub async fn plain(args: &Plain, action: &str) -> Result<(), Failure> {
    args.target.order(action, Map::new(), args.reason.as_deref()).await
}

/// Rolls back.
pub async fn roll_back(args: &RollBack) -> Result<(), Failure> {
    let version = args.which.as_ref().map(|version| ("version".to_owned(), json!(version.to_string())));
    args.target.order("rollback", version.into_iter().collect(), args.reason.as_deref()).await
}

/// Lets out of quarantine.
pub async fn release(args: &Release) -> Result<(), Failure> {
    let order = Map::from_iter([("version".to_owned(), json!(args.which.to_string()))]);
    args.target.order("release", order, args.reason.as_deref()).await
}

/// Says what serves.
pub async fn status(args: &Status) -> Result<(), Failure> {
    let project = Project::open(&args.target.folder.dir)?;
    let plugin = args.target.ask(Method::GET, args.target.plugin(&project, ""), Bytes::new()).await?.json();
    say_rollout(&plugin["rollout"])?;
    if plugin["file"] == true {
        crate::say("  a file of plugins.dir fills its slots until a version is deployed")?;
    }
    for (who, record) in ["candidate", "stable"].map(|who| (who, &plugin["trial"][who])) {
        if record.is_object() {
            let [calls, faults, errors, micros] =
                ["calls", "faults", "errors", "mean_micros"].map(|field| record[field].as_u64().unwrap_or(0));
            let line = format!("  {who:<10} {calls} calls, {faults} faults, {errors} errors, {micros} µs a call");
            crate::say(&line)?;
        }
    }
    for version in plugin["versions"].as_array().into_iter().flatten() {
        let line = format!(
            "  {:<10} {} bytes, by {}",
            text(version, "version"),
            version["size"],
            text(version, "uploaded_by")
        );
        crate::say(&line)?;
    }
    Ok(())
}

/// Says what was done.
pub async fn audit(args: &Audit) -> Result<(), Failure> {
    let path = format!("{}/audit", args.target.tenant());
    let entries = args.target.ask(Method::GET, path, Bytes::new()).await?.json();
    for entry in entries.as_array().into_iter().flatten() {
        let at = moment(&entry["at"]);
        let [plugin, action, version, actor, reason] =
            ["plugin", "action", "version", "actor", "reason"].map(|field| text(entry, field));
        crate::say(&format!("{at}  {plugin}  {action:<10} {version:<8} {actor}  {reason}"))?;
    }
    Ok(())
}

/// Says what was logged.
pub async fn logs(args: &Logs) -> Result<(), Failure> {
    let mut last = 0;
    let mut every = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let path = format!("{}/logs?after={last}", args.target.tenant());
        let lines = args.target.ask(Method::GET, path, Bytes::new()).await?.json();
        for line in lines.as_array().into_iter().flatten() {
            last = line["seq"].as_u64().unwrap_or(last).max(last);
            let [plugin, level, id, message] = ["plugin", "level", "correlation_id", "message"].map(|f| text(line, f));
            crate::say(&format!("{}  {plugin}  {level:<5}  {message}  ({id})", moment(&line["at"])))?;
        }
        if !args.follow {
            return Ok(());
        }
    }
}

impl Target {
    /// Where what is the tenant's begins.
    pub fn tenant(&self) -> String {
        format!("/v1/tenants/{}", self.tenant)
    }

    fn plugin(&self, project: &Project, rest: &str) -> String {
        format!("{}/plugins/{}{rest}", self.tenant(), project.manifest.name)
    }

    async fn order(&self, action: &str, mut order: Map<String, Value>, reason: Option<&str>) -> Result<(), Failure> {
        let project = Project::open(&self.folder.dir)?;
        if let Some(reason) = reason {
            order.insert("reason".to_owned(), json!(reason));
        }
        let body = Value::Object(order).to_string().into();
        let answer = self.ask(Method::POST, self.plugin(&project, &format!("/{action}")), body).await?;
        Ok(say_rollout(&answer.json())?)
    }

    /// Asks, and takes no for an error.
    pub async fn ask(&self, method: Method, path: String, body: Bytes) -> Result<Reply, PluginError> {
        let media_type = (method == Method::PUT).then_some("application/wasm");
        Ok(self.admin.ask_with(method, &path, body, media_type).await?)
    }
}

fn say_rollout(rollout: &Value) -> std::io::Result<()> {
    let stable = rollout["stable"].as_str().unwrap_or("nothing");
    let candidate = &rollout["candidate"];
    let trial = ["canary", "shadow"].into_iter().find_map(|kind| Some((kind, candidate[kind].as_u64()?)));
    let trial = trial.map(|(kind, share)| format!(", {} on trial ({kind} {share} %)", text(candidate, "version")));
    crate::say(&format!("{stable} serves{}", trial.unwrap_or_default()))?;
    let quarantined: Vec<&str> =
        rollout["quarantined"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match quarantined.is_empty() {
        true => Ok(()),
        false => crate::say(&format!("in quarantine: {}", quarantined.join(", "))),
    }
}

/// Milliseconds since the epoch, for people.
pub fn moment(ms: &Value) -> String {
    let at = ms.as_i64().and_then(|ms| time::OffsetDateTime::from_unix_timestamp(ms / 1000).ok());
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

//! What the operators' listener takes and answers about plugins, as JSON.
#![allow(missing_docs, reason = "what needs a word has one; the rest says it by its name")]

use serde::{Deserialize, Serialize};
use sluis_fixture::Input;
use sluis_ledger::{AuditEntry, PluginVersion};
use sluis_model::rollout::{Candidate, Guard, Record, Rollout, Trial, Version};
use utoipa::{IntoParams, ToSchema};

use crate::recorder::Recorded;
use crate::tenant_log::Line;
use crate::uploads::Report;

/// A component that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uploaded {
    pub version: String,
    /// What was found out about it.
    pub report: Report,
}

/// A tenant's plugin.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginView {
    pub name: String,
    /// The tenant's slots that it fills.
    pub slots: Vec<String>,
    pub rollout: RolloutView,
    /// A file of `plugins.dir` serves, as no version was deployed.
    pub file: bool,
    /// What the versions in use did since they came into use in this process; absent where a file of `plugins.dir`
    /// serves or nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialView>,
    /// The last uploaded first.
    pub versions: Vec<VersionView>,
}

/// A version that was uploaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionView {
    pub version: String,
    /// BLAKE3 in hex.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since the epoch.
    pub uploaded_at: u64,
    pub uploaded_by: String,
}

/// Which versions serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutView {
    /// Counts changes; 0 where nothing was ever deployed.
    pub revision: u64,
    /// Serves whatever no candidate does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// On trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateView>,
    /// Stable before, the last one first.
    pub earlier: Vec<String>,
    /// Taken out of service by their faults, the last one first.
    pub quarantined: Vec<String>,
}

/// A version on trial.
#[derive(Debug, Serialize, ToSchema)]
pub struct CandidateView {
    pub version: String,
    #[serde(flatten)]
    pub share: Share,
    /// Since when, milliseconds since the epoch.
    pub since: u64,
    /// When it is promoted if it has held, milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// What a candidate did, and what the stable version did in the same time.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrialView {
    pub candidate: RecordView,
    pub stable: RecordView,
}

/// What a version did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordView {
    pub calls: u64,
    /// Traps, budgets, invalid answers.
    pub faults: u64,
    /// Requests that ended with a 5xx; of a shadow, words that differ from those acted on.
    pub errors: u64,
    /// Mean time on the CPU of a call, microseconds.
    pub mean_micros: u64,
}

/// How a version is tried.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// It serves this many percent of requests, 1 to 99.
    Canary(u8),
    /// It is asked beside the stable version for this many percent of requests, 1 to 100, and its word compared.
    Shadow(u8),
}

/// Which version is to serve, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    pub version: String,
    /// Try it first; without this it serves all requests at once.
    #[serde(default)]
    pub trial: Option<Share>,
    /// Promote a canary after so many seconds if it has held; only by hand where absent.
    #[serde(default)]
    pub promote_after: Option<u64>,
    /// What the trial must not exceed; sensible numbers where absent.
    #[serde(default)]
    pub guard: Option<GuardView>,
    /// For the audit.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a candidate must not exceed; the trial ends at once where it does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GuardView {
    /// Calls that have to be seen before it can be promoted.
    pub minimum_calls: u64,
    /// Faults at most.
    pub faults: u64,
    /// Its share of errors may be this many percentage points above the stable version's.
    pub error_points: u32,
    /// Its mean time may be this many percent above the stable version's.
    pub slower_percent: u32,
}

/// An order without more to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reason {
    /// For the audit.
    pub reason: Option<String>,
}

/// Which version to go back to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RollBack {
    /// One that served before; the last one where absent.
    pub version: Option<String>,
    /// For the audit.
    pub reason: Option<String>,
}

/// Which version may serve again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub version: String,
    /// For the audit.
    #[serde(default)]
    pub reason: Option<String>,
}

/// An entry of the audit.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Goes into `before` for the entries before it.
    pub seq: i64,
    /// Milliseconds since the epoch.
    pub at: u64,
    pub plugin: String,
    pub actor: String,
    pub reason: String,
    pub action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A line that a plugin logged, or a fault of its.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogView {
    /// Goes into `after` for the lines after it.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// With its version where it has one.
    pub plugin: String,
    /// `debug`, `info`, `warn`, `error` or `fault`.
    pub level: String,
    pub correlation_id: String,
    pub message: String,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Those after this one.
    pub after: Option<u64>,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Those before this one.
    pub before: Option<i64>,
}

impl From<PluginVersion> for VersionView {
    fn from(kept: PluginVersion) -> Self {
        let PluginVersion { version, uploaded_at, uploaded_by } = kept;
        let digest = version.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        VersionView { version: version.version.to_string(), digest, size: version.bytes, uploaded_at, uploaded_by }
    }
}

impl From<Rollout> for RolloutView {
    fn from(rollout: Rollout) -> Self {
        let Rollout { revision, stable, candidate, earlier, quarantined } = rollout;
        RolloutView {
            revision,
            stable: stable.map(|version| version.to_string()),
            candidate: candidate.map(CandidateView::from),
            earlier: earlier.iter().map(Version::to_string).collect(),
            quarantined: quarantined.iter().map(|quarantined| quarantined.version.to_string()).collect(),
        }
    }
}

impl From<Candidate> for CandidateView {
    fn from(candidate: Candidate) -> Self {
        let Candidate { version, trial, since, until, .. } = candidate;
        let share = match trial {
            Trial::Canary(share) => Share::Canary(share),
            Trial::Shadow(share) => Share::Shadow(share),
        };
        CandidateView { version: version.to_string(), share, since, until }
    }
}

impl From<Share> for Trial {
    fn from(share: Share) -> Self {
        match share {
            Share::Canary(share) => Trial::Canary(share),
            Share::Shadow(share) => Trial::Shadow(share),
        }
    }
}

impl From<Record> for RecordView {
    fn from(record: Record) -> Self {
        let Record { calls, faults, errors, micros } = record;
        RecordView { calls, faults, errors, mean_micros: micros / calls.max(1) }
    }
}

impl Default for GuardView {
    fn default() -> Self {
        let Guard { minimum_calls, faults, error_points, slower_percent } = Guard::default();
        GuardView { minimum_calls, faults, error_points, slower_percent }
    }
}

impl From<GuardView> for Guard {
    fn from(guard: GuardView) -> Self {
        let GuardView { minimum_calls, faults, error_points, slower_percent } = guard;
        Guard { minimum_calls, faults, error_points, slower_percent }
    }
}

/// A request that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordingView {
    /// The request's correlation id.
    pub id: String,
    /// Milliseconds since the epoch.
    pub at: u64,
    /// The plugin, with its version where it has one.
    pub plugin: String,
    /// The request's method and path.
    pub request: String,
}

/// The same with what was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordedView {
    /// Which it is.
    #[serde(flatten)]
    pub about: RecordingView,
    /// As in a file of `fixtures/`.
    #[schema(value_type = Object)]
    pub fixture: serde_json::Value,
}

impl From<&Recorded> for RecordingView {
    fn from(recorded: &Recorded) -> Self {
        let request = match &recorded.fixture.input {
            Input::Request(request) => format!("{} {}", request.method, request.path),
            _ => String::new(),
        };
        let Recorded { id, at, plugin, .. } = recorded;
        RecordingView { id: id.to_string(), at: *at, plugin: plugin.to_string(), request }
    }
}

impl From<Line> for LogView {
    fn from(line: Line) -> Self {
        let Line { seq, at, plugin, level, correlation_id, message } = line;
        LogView {
            seq,
            at,
            plugin: plugin.to_string(),
            level: level.to_owned(),
            correlation_id: correlation_id.to_string(),
            message,
        }
    }
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { seq, at, plugin, actor, action, version } = entry;
        AuditView { seq, at, plugin, actor: actor.name, reason: actor.reason, action, version }
    }
}

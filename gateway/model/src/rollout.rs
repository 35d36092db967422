//! Which version of a tenant's plugin serves: deployed at once, tried on a share of calls (canary) or beside the one that
//! serves without effect (shadow), promoted, rolled back, quarantined. Times are milliseconds since the epoch.

pub use semver::Version;
use serde::{Deserialize, Serialize};

/// Versions that served before and can be gone back to.
pub const MOST_EARLIER: usize = 10;
/// Versions in quarantine; the oldest makes room.
pub const MOST_QUARANTINED: usize = 20;
/// Faults of a version within [`QUARANTINE_WINDOW_MS`] that end its service.
pub const QUARANTINE_FAULTS: u64 = 5;
/// See [`QUARANTINE_FAULTS`].
pub const QUARANTINE_WINDOW_MS: u64 = 10_000;

/// Whether a plugin that is uploaded can be named so: 1 to 63 lower-case letters, digits and dashes.
pub fn is_plugin_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The versions of one plugin in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Counts changes.
    pub revision: u64,
    /// Serves whatever no candidate does; none before the first deployment.
    pub stable: Option<Version>,
    /// On trial.
    pub candidate: Option<Candidate>,
    /// Stable before, the last one first.
    pub earlier: Vec<Version>,
    /// Taken out of service by their faults.
    pub quarantined: Vec<Quarantined>,
}

/// A version on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub version: Version,
    /// How.
    pub trial: Trial,
    /// Since when.
    pub since: u64,
    /// When it is judged; never of itself where none.
    pub until: Option<u64>,
    /// By what.
    pub guard: Guard,
}

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    /// Serves this many percent of calls, 1 to 99.
    Canary(u8),
    /// Is called beside the stable version for this many percent of calls, 1 to 100; its word is compared, not acted on.
    Shadow(u8),
}

/// What a candidate must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Calls that have to be seen before it can be promoted.
    pub minimum_calls: u64,
    /// Traps, budgets and invalid answers at most.
    pub faults: u64,
    /// Its share of errors may be this many percentage points above the stable version's.
    pub error_points: u32,
    /// Its mean time may be this many percent above the stable version's.
    pub slower_percent: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Guard { minimum_calls: 20, faults: 0, error_points: 1, slower_percent: 50 }
    }
}

/// A version that was taken out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Which.
    pub version: Version,
    /// Since when.
    pub at: u64,
}

/// What is asked of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// This version serves all calls from now on.
    Deploy(Version),
    /// This version is tried.
    Try(Candidate),
    /// The candidate becomes the stable version.
    Promote,
    /// The candidate goes.
    Abandon,
    /// Back to the version before, or to this one of those before; a candidate goes.
    RollBack(Option<Version>),
    /// This version has failed too often. If it is the stable one, the last before it that has not serves again.
    Quarantine(Version),
    /// This version may be deployed again.
    Release(Version),
}

impl Order {
    /// The word for it in audit, logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Order::Deploy(_) => "deploy",
            Order::Try(_) => "try",
            Order::Promote => "promote",
            Order::Abandon => "abandon",
            Order::RollBack(_) => "rollback",
            Order::Quarantine(_) => "quarantine",
            Order::Release(_) => "release",
        }
    }

    /// The version that it names.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Order::Deploy(version) | Order::Quarantine(version) | Order::Release(version) => Some(version),
            Order::Try(candidate) => Some(&candidate.version),
            Order::RollBack(version) => version.as_ref(),
            Order::Promote | Order::Abandon => None,
        }
    }
}

/// Why an order cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RolloutFault {
    /// A trial needs a version to be held against.
    #[error("no version is deployed yet")]
    NothingDeployed,
    /// There is none to promote or abandon.
    #[error("no version is on trial")]
    NoCandidate,
    /// Nothing served before, or not this.
    #[error("there is no such version to go back to")]
    NothingEarlier,
    /// It is what serves already.
    #[error("this version serves already")]
    Serves,
    /// It was taken out of service by its faults.
    #[error("this version is in quarantine")]
    Quarantined,
    /// A version that is not in use cannot fail.
    #[error("this version is not in use")]
    NotInUse,
    /// Past what a trial can be.
    #[error("a canary has 1 to 99 percent of calls, a shadow 1 to 100")]
    Share,
}

impl Rollout {
    /// What following `order` makes of it.
    pub fn apply(&self, order: Order, now: u64) -> Result<Rollout, RolloutFault> {
        let mut next = self.clone();
        next.revision += 1;
        match order {
            Order::Deploy(version) => {
                next.can_serve(&version)?;
                next.candidate = None;
                next.serve(version);
            }
            Order::Try(candidate) => {
                let stable = next.stable.as_ref().ok_or(RolloutFault::NothingDeployed)?;
                if *stable == candidate.version {
                    return Err(RolloutFault::Serves);
                }
                next.can_serve(&candidate.version)?;
                if !matches!(candidate.trial, Trial::Canary(1..=99) | Trial::Shadow(1..=100)) {
                    return Err(RolloutFault::Share);
                }
                next.candidate = Some(candidate);
            }
            Order::Promote => {
                let candidate = next.candidate.take().ok_or(RolloutFault::NoCandidate)?;
                next.serve(candidate.version);
            }
            Order::Abandon => drop(next.candidate.take().ok_or(RolloutFault::NoCandidate)?),
            Order::RollBack(to) => {
                let to = match to {
                    Some(version) => next.earlier.iter().position(|earlier| *earlier == version),
                    None => (!next.earlier.is_empty()).then_some(0),
                };
                // A canary is what was changed last: going back means going back from it.
                if to.is_none() && next.candidate.take().is_some() {
                    return Ok(next);
                }
                let version = next.earlier.remove(to.ok_or(RolloutFault::NothingEarlier)?);
                next.candidate = None;
                next.stable = Some(version);
            }
            Order::Quarantine(version) => next.quarantine(version, now)?,
            Order::Release(version) => {
                let before = next.quarantined.len();
                next.quarantined.retain(|quarantined| quarantined.version != version);
                if next.quarantined.len() == before {
                    return Err(RolloutFault::NotInUse);
                }
            }
        }
        Ok(next)
    }

    fn can_serve(&self, version: &Version) -> Result<(), RolloutFault> {
        if self.stable.as_ref() == Some(version) && self.candidate.is_none() {
            return Err(RolloutFault::Serves);
        }
        if self.is_quarantined(version) { Err(RolloutFault::Quarantined) } else { Ok(()) }
    }

    /// Whether this version was taken out of service.
    pub fn is_quarantined(&self, version: &Version) -> bool {
        self.quarantined.iter().any(|quarantined| quarantined.version == *version)
    }

    fn serve(&mut self, version: Version) {
        self.earlier.retain(|earlier| *earlier != version);
        if let Some(before) = self.stable.replace(version.clone()).filter(|before| *before != version) {
            self.earlier.insert(0, before);
        }
        self.earlier.truncate(MOST_EARLIER);
    }

    fn quarantine(&mut self, version: Version, now: u64) -> Result<(), RolloutFault> {
        let on_trial = self.candidate.as_ref().is_some_and(|candidate| candidate.version == version);
        let stable = self.stable.as_ref() == Some(&version);
        if !on_trial && !stable {
            return Err(RolloutFault::NotInUse);
        }
        self.earlier.retain(|earlier| *earlier != version);
        if on_trial {
            self.candidate = None;
        }
        if stable {
            self.stable = if self.earlier.is_empty() { None } else { Some(self.earlier.remove(0)) };
        }
        // Where nothing served before, nothing serves: the slot refuses. What was on trial had nothing to show yet.
        if self.stable.is_none() {
            self.candidate = None;
        }
        self.quarantined.insert(0, Quarantined { version, at: now });
        self.quarantined.truncate(MOST_QUARANTINED);
        Ok(())
    }

    /// Who takes a call. `dice` is any number that is spread evenly over calls.
    pub fn pick(&self, dice: u64) -> Option<Pick<'_>> {
        let stable = self.stable.as_ref()?;
        let roll = dice % 100;
        Some(match &self.candidate {
            Some(Candidate { version, trial: Trial::Canary(share), .. }) if roll < u64::from(*share) => {
                Pick { serves: version, shadow: None }
            }
            Some(Candidate { version, trial: Trial::Shadow(share), .. }) if roll < u64::from(*share) => {
                Pick { serves: stable, shadow: Some(version) }
            }
            _ => Pick { serves: stable, shadow: None },
        })
    }

    /// Every version that calls may reach.
    pub fn in_use(&self) -> impl Iterator<Item = &Version> {
        self.stable.iter().chain(self.candidate.iter().map(|candidate| &candidate.version))
    }
}

/// Who takes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick<'a> {
    /// Its word is acted on.
    pub serves: &'a Version,
    /// Its word is compared.
    pub shadow: Option<&'a Version>,
}

/// What a version did since a trial began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// All calls.
    pub calls: u64,
    /// Traps, budgets, invalid answers.
    pub faults: u64,
    /// Calls that ended with a 5xx of any kind, faults included; of a shadow, words that differ from the stable one's.
    pub errors: u64,
    /// Time of all calls.
    pub micros: u64,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Wait,
    /// It has passed.
    Promote,
    /// It has not, for this reason.
    Abandon(&'static str),
}

impl Candidate {
    /// Judges what it did against the stable version in the same time. A shadow is never promoted by itself: nobody
    /// has acted on its word.
    pub fn judge(&self, own: Record, stable: Record, now: u64) -> Verdict {
        let Guard { minimum_calls, faults, error_points, slower_percent } = self.guard;
        if own.faults > faults {
            return Verdict::Abandon("faults");
        }
        if own.calls < minimum_calls.max(1) {
            return Verdict::Wait;
        }
        // Shares of errors in percent, compared without division: own/own_calls > stable/stable_calls + points/100.
        let (calls, stable_calls) = (u128::from(own.calls), u128::from(stable.calls.max(1)));
        let own_errors = u128::from(own.errors) * stable_calls * 100;
        let allowed = u128::from(stable.errors) * calls * 100 + u128::from(error_points) * calls * stable_calls;
        // That a shadow says something else may be the very reason for it.
        if matches!(self.trial, Trial::Canary(_)) && own_errors > allowed {
            return Verdict::Abandon("errors");
        }
        let own_time = u128::from(own.micros) * stable_calls * 100;
        let allowed = u128::from(stable.micros) * calls * (100 + u128::from(slower_percent));
        if stable.calls >= minimum_calls.max(1) && own_time > allowed {
            return Verdict::Abandon("time");
        }
        match (self.trial, self.until) {
            (Trial::Canary(_), Some(until)) if now >= until => Verdict::Promote,
            _ => Verdict::Wait,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

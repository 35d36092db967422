//! What stands behind a tenant's plugin: the versions in use, who of them takes a call, and what each of them did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use sluis_model::plan::OnError;
use sluis_model::rollout::{
    Candidate, Pick, QUARANTINE_FAULTS, QUARANTINE_WINDOW_MS, Record as Tally, Rollout, Version,
};
use sluis_sandbox::Plugin;

/// Every call takes the next of these numbers; 61 and 100 have no divisor in common, so that a hundred calls in a row
/// hit each percent once, and a canary's calls are spread among them.
const STRIDE: u64 = 61;

/// A slot of a tenant.
#[derive(Debug)]
pub struct Slot {
    /// What fills it.
    pub plugin: Arc<TenantPlugin>,
    /// What becomes of a request where that gives no decision.
    pub on_error: OnError,
}

/// A tenant's plugin, as its slots name it.
#[derive(Debug)]
pub struct TenantPlugin {
    /// A label.
    pub name: Arc<str>,
    /// None where there is nothing that could serve: the slots answer 503.
    pub serving: ArcSwapOption<Serving>,
}

/// A component in use: a version that was uploaded, or a file of `plugins.dir`.
#[derive(Debug)]
pub struct Served {
    /// The plugin's name.
    pub name: Arc<str>,
    /// Loaded.
    pub plugin: Arc<Plugin>,
    /// None for a file.
    pub version: Option<Version>,
    calls: AtomicU64,
    faults: AtomicU64,
    errors: AtomicU64,
    micros: AtomicU64,
    /// When the last faults were, milliseconds since the epoch; a ring.
    recent: Mutex<RecentFaults>,
}

#[derive(Debug, Default)]
struct RecentFaults {
    at: [u64; QUARANTINE_FAULTS as usize],
    next: usize,
}

impl RecentFaults {
    /// Notes a fault. Whether there were as many within the window as end a version's service.
    fn note(&mut self, now: u64) -> bool {
        self.at[self.next] = now;
        self.next = (self.next + 1) % self.at.len();
        // What is overwritten next is the oldest.
        let oldest = self.at[self.next];
        oldest != 0 && now.saturating_sub(oldest) < QUARANTINE_WINDOW_MS
    }
}

impl Served {
    /// Nothing done yet.
    pub fn new(name: &Arc<str>, plugin: Arc<Plugin>, version: Option<Version>) -> Arc<Self> {
        Arc::new(Served {
            name: name.clone(),
            plugin,
            version,
            calls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            recent: Mutex::default(),
        })
    }

    /// A call that took so long on the CPU.
    pub fn called(&self, cpu: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A call that gave nothing which could be acted on, at `now` (milliseconds since the epoch). Whether its service
    /// should end.
    #[must_use]
    pub fn faulted(&self, now: u64) -> bool {
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.recent.lock().note(now)
    }

    /// A request that it decided ended with a 5xx; or, of a shadow, its word was another than the one acted on.
    pub fn erred(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// What it did so far.
    pub fn tally(&self) -> Tally {
        Tally {
            calls: self.calls.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            micros: self.micros.load(Ordering::Relaxed),
        }
    }
}

/// The versions of one plugin that calls may reach, at one revision of its rollout.
#[derive(Debug)]
pub struct Serving {
    rollout: Rollout,
    stable: Arc<Served>,
    /// Stable before; loaded only where a slot falls back to it.
    previous: Option<Arc<Served>>,
    candidate: Option<Trial>,
    dice: AtomicU64,
}

/// The components of a rollout.
#[derive(Debug)]
pub struct Loaded {
    /// Serves whatever the candidate does not.
    pub stable: Arc<Plugin>,
    /// Stable before, where a slot falls back to it.
    pub previous: Option<Arc<Plugin>>,
    /// On trial.
    pub candidate: Option<Arc<Plugin>>,
}

/// A candidate, and what the stable version had done when its trial began.
#[derive(Debug)]
struct Trial {
    served: Arc<Served>,
    stable_before: Tally,
}

/// Who takes one request, from its first hook to its last.
#[derive(Debug, Clone)]
pub struct Picked {
    /// Its word is acted on.
    pub serves: Arc<Served>,
    /// Its word is compared.
    pub shadow: Option<Arc<Served>>,
    /// Decides where the first one fails and the slot wants that.
    pub fallback: Option<Arc<Served>>,
}

impl Picked {
    /// Whether one of them needs the whole body.
    pub fn reads_body(&self) -> bool {
        [Some(&self.serves), self.shadow.as_ref()].into_iter().flatten().any(|served| served.plugin.hooks().on_request)
    }
}

impl Serving {
    /// A file of `plugins.dir`: one version that has no number and never changes but with the file.
    pub fn file(name: &Arc<str>, plugin: Arc<Plugin>) -> Arc<Self> {
        Arc::new(Serving {
            rollout: Rollout::default(),
            stable: Served::new(name, plugin, None),
            previous: None,
            candidate: None,
            dice: AtomicU64::new(0),
        })
    }

    /// The versions of a rollout. What stays in use from `before` keeps its account.
    pub fn versions(name: &Arc<str>, rollout: Rollout, loaded: Loaded, before: Option<&Serving>) -> Arc<Self> {
        let Loaded { stable, previous, candidate } = loaded;
        let same_trial = before.is_some_and(|before| before.rollout.candidate == rollout.candidate);
        let stable = kept(before, &stable, rollout.stable.as_ref()).unwrap_or_else(|| {
            let version = rollout.stable.clone();
            Served::new(name, stable, version)
        });
        let candidate = candidate.map(|plugin| {
            let version = rollout.candidate.as_ref().map(|candidate| &candidate.version);
            let on_trial = before.and_then(|before| before.candidate.as_ref()).filter(|_| same_trial);
            match on_trial.filter(|trial| Arc::ptr_eq(&trial.served.plugin, &plugin) || trial.is(&plugin)) {
                Some(trial) => {
                    // Held against the version that it was held against, or from here on against the one that serves now.
                    let same = before.is_some_and(|before| Arc::ptr_eq(&before.stable, &stable));
                    let stable_before = if same { trial.stable_before } else { stable.tally() };
                    Trial { served: trial.served.clone(), stable_before }
                }
                None => Trial { served: Served::new(name, plugin, version.cloned()), stable_before: stable.tally() },
            }
        });
        let previous = previous.map(|plugin| Served::new(name, plugin, rollout.earlier.first().cloned()));
        Arc::new(Serving { rollout, stable, previous, candidate, dice: AtomicU64::new(0) })
    }

    /// What goes on where nothing can be loaded: the stable version by itself, without one on trial. None where the stable
    /// version is another one by `rollout`.
    pub fn stable_alone(&self, rollout: &Rollout) -> Option<Arc<Self>> {
        let same = self.stable.version.is_some() && self.stable.version == rollout.stable;
        let rollout = Rollout { candidate: None, ..rollout.clone() };
        same.then(|| {
            let (stable, dice) = (self.stable.clone(), AtomicU64::new(0));
            Arc::new(Serving { rollout, stable, previous: self.previous.clone(), candidate: None, dice })
        })
    }

    /// Whether calls reach a version here that `rollout` took out of service.
    pub fn reaches_quarantined(&self, rollout: &Rollout) -> bool {
        self.rollout.in_use().any(|version| rollout.is_quarantined(version))
    }

    /// Who takes the next request.
    pub fn pick(&self) -> Picked {
        let alone = || Picked { serves: self.stable.clone(), shadow: None, fallback: self.previous.clone() };
        let Some(trial) = &self.candidate else { return alone() };
        let dice = self.dice.fetch_add(STRIDE, Ordering::Relaxed);
        let Some(Pick { serves, shadow }) = self.rollout.pick(dice) else { return alone() };
        match (Some(serves) == trial.served.version.as_ref(), shadow) {
            (true, _) => Picked { serves: trial.served.clone(), shadow: None, fallback: Some(self.stable.clone()) },
            (false, Some(_)) => Picked { shadow: Some(trial.served.clone()), ..alone() },
            (false, None) => alone(),
        }
    }

    /// The component that serves where no candidate does.
    pub fn stable(&self) -> &Arc<Served> {
        &self.stable
    }

    /// The rollout that this is; an empty one for a file.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// The candidate with what it did, and what the stable version did in the same time.
    pub fn trial(&self) -> Option<(&Candidate, Tally, Tally)> {
        let (candidate, trial) = (self.rollout.candidate.as_ref()?, self.candidate.as_ref()?);
        let (now, before) = (self.stable.tally(), trial.stable_before);
        let since = Tally {
            calls: now.calls.saturating_sub(before.calls),
            faults: now.faults.saturating_sub(before.faults),
            errors: now.errors.saturating_sub(before.errors),
            micros: now.micros.saturating_sub(before.micros),
        };
        Some((candidate, trial.served.tally(), since))
    }
}

impl Trial {
    fn is(&self, plugin: &Plugin) -> bool {
        self.served.plugin.digest() == plugin.digest()
    }
}

/// The account of `version` with these bytes, if `before` has it: as stable version, or as a candidate that passed.
fn kept(before: Option<&Serving>, plugin: &Plugin, version: Option<&Version>) -> Option<Arc<Served>> {
    let before = before?;
    let all = [Some(&before.stable), before.candidate.as_ref().map(|trial| &trial.served)];
    let same = |served: &&Arc<Served>| served.version.as_ref() == version && served.plugin.digest() == plugin.digest();
    all.into_iter().flatten().find(same).cloned()
}

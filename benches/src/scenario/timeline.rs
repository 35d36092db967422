//! What happens during a scenario, and when.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::written::Clock;
use crate::parts::slow;
use crate::parts::{Behaviour, Change};
use crate::workload::Invalid;

/// Most steps of a scenario, repetitions counted out.
const MAX_STEPS: usize = 1_000;

/// Something that happens, as it is written: one thing beside its times.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    /// When, from the first moment.
    at: String,
    /// Until when: what it was before is so again. With `every`, when it happens last.
    until: Option<String>,
    /// Happens again after each of these.
    every: Option<String>,
    erp: Option<Change>,
    idp: Option<Change>,
    keys: Option<Keys>,
    gateway: Option<Process>,
    reload: Option<Value>,
    deploy: Option<Deploy>,
    slow_clients: Option<usize>,
}

/// What becomes of the issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Keys {
    /// There is a new one, and all tokens are signed with it from here on; the old one is still published.
    Rotate,
    /// The old ones are no longer published.
    Retire,
}

/// What becomes of the gateway's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Process {
    /// `kill -9`.
    Kill,
    /// Started again, on the same ports and what is on disk.
    Start,
}

/// A version of a plugin that is uploaded and serves from then on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deploy {
    pub tenant: String,
    pub plugin: String,
    /// Which component it is.
    pub component: String,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub at: Duration,
    /// Until when, for the mark on the time line.
    pub until: Option<Duration>,
    pub action: Action,
    /// In a few words; none for one that ends what another began.
    pub text: Option<String>,
}

/// See [`Event`].
#[derive(Debug, Clone)]
pub(super) enum Action {
    Erp(Behaviour),
    Idp(Behaviour),
    Keys(Keys),
    Gateway(Process),
    /// RFC 7396: laid over the configuration.
    Reload(Value),
    Deploy(Deploy),
    /// None to let them go.
    SlowClients(Option<usize>),
}

/// All steps in their order. The ERP behaves as `erp` at first.
pub(super) fn lower(events: Vec<Event>, clock: Clock, erp: &Behaviour) -> Result<Vec<Step>, Invalid> {
    let mut events: Vec<(Duration, usize, Event)> = events
        .into_iter()
        .enumerate()
        .map(|(n, event)| Ok((clock.time(&format!("at[{n}].at"), &event.at)?, n, event)))
        .collect::<Result<_, Invalid>>()?;
    events.sort_by_key(|(at, n, _)| (*at, *n));
    let mut steps = Vec::new();
    let mut systems = Systems { erp: erp.clone(), idp: Behaviour::default() };
    for (at, n, event) in events {
        let place = format!("at[{n}]");
        let time = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| clock.time(&format!("{place}.{name}"), text)).transpose()
        };
        let (until, every) = (time("until", &event.until)?, time("every", &event.every)?);
        if until.is_some_and(|until| until <= at) {
            return Err(Invalid::new(format!("{place}.until"), "is not after `at`"));
        }
        let (action, undo, text) = event.action(&place, &mut systems, until.is_some() && every.is_none())?;
        let text = Some(text);
        match (every, until) {
            (None, until) => {
                steps.push(Step { at, until, action, text });
                match (until, undo) {
                    (Some(at), Some(undo)) => steps.push(Step { at, until: None, action: undo, text: None }),
                    (Some(_), None) => {
                        return Err(Invalid::new(
                            format!("{place}.until"),
                            "this cannot be undone; only erp, idp and slow_clients can",
                        ));
                    }
                    (None, _) => {}
                }
            }
            (Some(every), Some(until)) if !every.is_zero() => {
                let mut at = at;
                while at <= until && steps.len() <= MAX_STEPS {
                    steps.push(Step { at, until: None, action: action.clone(), text: text.clone() });
                    at += every;
                }
            }
            (Some(_), _) => return Err(Invalid::new(format!("{place}.every"), "needs an `until`, and is more than 0")),
        }
        if steps.len() > MAX_STEPS {
            return Err(Invalid::new(place, format!("more than {MAX_STEPS} steps in all")));
        }
    }
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

/// How they behave at a time.
struct Systems {
    erp: Behaviour,
    idp: Behaviour,
}

/// The behaviour after a change, and the one before it, which the system has again where the change is undone.
fn behave(at: &str, change: &Change, now: &mut Behaviour, undone: bool) -> Result<(Behaviour, Behaviour), Invalid> {
    let after = change.apply(at, now)?;
    let before = if undone { now.clone() } else { std::mem::replace(now, after.clone()) };
    Ok((after, before))
}

impl Event {
    /// What happens, what undoes it, and how it is called.
    fn action(
        self,
        place: &str,
        systems: &mut Systems,
        undone: bool,
    ) -> Result<(Action, Option<Action>, String), Invalid> {
        let mut all: Vec<(Action, Option<Action>, String)> = Vec::new();
        if let Some(change) = self.erp {
            let (after, before) = behave(&format!("{place}.erp"), &change, &mut systems.erp, undone)?;
            all.push((Action::Erp(after), Some(Action::Erp(before)), format!("ERP {}", change.words())));
        }
        if let Some(change) = self.idp {
            let (after, before) = behave(&format!("{place}.idp"), &change, &mut systems.idp, undone)?;
            all.push((Action::Idp(after), Some(Action::Idp(before)), format!("issuer {}", change.words())));
        }
        if let Some(keys) = self.keys {
            let text = if keys == Keys::Rotate { "new signing key" } else { "old keys gone" };
            all.push((Action::Keys(keys), None, text.to_owned()));
        }
        if let Some(process) = self.gateway {
            let text = if process == Process::Kill { "gateway killed" } else { "gateway started" };
            all.push((Action::Gateway(process), None, text.to_owned()));
        }
        if let Some(patch) = self.reload {
            all.push((Action::Reload(patch), None, "reload".to_owned()));
        }
        if let Some(deploy) = self.deploy {
            let text = format!("deploy {} of {}", deploy.plugin, deploy.tenant);
            all.push((Action::Deploy(deploy), None, text));
        }
        if let Some(count) = self.slow_clients {
            if count == 0 || count > slow::MAX {
                return Err(Invalid::new(format!("{place}.slow_clients"), format!("1 to {}", slow::MAX)));
            }
            let stop = Action::SlowClients(None);
            all.push((Action::SlowClients(Some(count)), Some(stop), format!("{count} slow clients")));
        }
        let only = all.pop().filter(|_| all.is_empty());
        let what = "exactly one of erp, idp, keys, gateway, reload, deploy and slow_clients happens at a time";
        only.ok_or_else(|| Invalid::new(place, what))
    }
}

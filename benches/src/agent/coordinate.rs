//! The coordinator: agents made ready, started together, heard, merged.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use super::call::{Peer, Told};
use super::pieces::Pieces;
use super::wire::{Done, Line, Order, Ready, VERSION, now_us};
use super::{AgentError, MAX_AGENTS, merge};
use crate::gateway::Follower;
use crate::live::Breaker;
use crate::load::{Progress, Stop};
use crate::parts::Idp;
use crate::record::Second;
use crate::result::{Ended, RunResult};
use crate::session::{self, Job, Lines, Measured, SessionError, Surroundings};

/// From the order to start until the first moment (of a warm-up, too): for all to have heard.
const RUN_UP: Duration = Duration::from_secs(1);
/// Beyond what the job lasts, for an agent that says nothing: it tells every second while it sends.
const SILENCE: Duration = Duration::from_secs(30);
/// Events that wait to be merged.
const EVENTS: usize = 256;

/// What comes from the agents.
enum Event {
    Second { elapsed: Duration, second: Box<Second>, under_way: usize },
    Done(String, Box<Done>),
    Lost(Loss),
}

/// Why an agent's share is not there, or not all of it.
struct Loss {
    why: String,
    /// It found no target, and sent nothing.
    unreachable: bool,
}

/// Runs a job on agents. Blocks; `tell` hears of every second of all of them together.
///
/// # Errors
/// When an agent cannot take its part, before anything is sent, or none comes to its end: as where no agent finds the
/// target. One that is lost later makes the result partial.
pub fn coordinate(
    job: &Job,
    agents: &[String],
    secret: &str,
    around: &Surroundings,
    lines: Lines,
    stop: &Stop,
    mut tell: impl FnMut(&Progress, &[Breaker]),
) -> Result<RunResult, AgentError> {
    job.check()?;
    if agents.len() > MAX_AGENTS || agents.iter().collect::<BTreeSet<_>>().len() < agents.len() {
        return Err(AgentError::Asked(format!("1 to {MAX_AGENTS} agents are possible, each of them once")));
    }
    if around.erp.is_some() {
        let text = "the ERP stand-in knows only what was sent from its own machine; leave --erp-listen or --agents out";
        return Err(AgentError::Asked(text.to_owned()));
    }
    let peers: Vec<Peer> =
        agents.iter().map(|address| Peer { address: address.clone(), secret: secret.to_owned() }).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (ready, offsets) = runtime.block_on(prepare(job, &peers))?;
    let _keys = keys(around.issuer, &ready)?;
    let follower = session::follow(around.metrics.as_ref(), Instant::now() + RUN_UP + job.warm_up)?;
    let at_us = now_us() + i64::try_from(RUN_UP.as_micros()).unwrap_or(0);
    let (send, events) = channel(EVENTS);
    let patience = SILENCE + job.warm_up + job.timeout;
    let starts = peers.iter().zip(&ready).zip(&offsets);
    for ((peer, ready), offset) in starts {
        runtime.spawn(follow(peer.clone(), ready.run, at_us + offset, patience, send.clone()));
    }
    drop(send);
    runtime.spawn(pass_on(stop.clone(), peers.iter().cloned().zip(ready.iter().map(|ready| ready.run)).collect()));
    let planned = job.schedule.duration();
    let heard = hear(events, agents.len(), lines.abort, planned, stop, |progress| {
        tell(progress, &session::breakers(follower.as_ref()));
    });
    let began = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at_us).unwrap_or(0));
    runtime.shutdown_background();
    merged(job, heard, began + job.warm_up, lines.slo.as_ref(), follower)
}

async fn prepare(job: &Job, peers: &[Peer]) -> Result<(Vec<Ready>, Vec<i64>), AgentError> {
    let mut offsets = Vec::new();
    for peer in peers {
        offsets.push(peer.greet().await?);
    }
    // All at once: each signs its tokens and finds the target. Their orders are those of one run: an order that one of them
    // repeats is mostly another's, and keys are shared.
    let (run, mut orders) = (session::run_name(), JoinSet::new());
    for (index, peer) in peers.iter().cloned().enumerate() {
        let (index, of) = (index as u64, peers.len() as u64);
        let order = Order { version: VERSION.to_owned(), job: job.clone(), run: run.clone(), index, of };
        orders.spawn(async move { (index, peer.prepare(&order).await) });
    }
    let mut ready = Vec::new();
    while let Some(prepared) = orders.join_next().await {
        let (index, prepared) = prepared.map_err(|error| AgentError::Local(error.into()))?;
        ready.push((index, prepared?));
    }
    ready.sort_by_key(|(index, _)| *index);
    Ok((ready.into_iter().map(|(_, ready)| ready).collect(), offsets))
}

/// All agents' keys at one address.
fn keys(address: Option<SocketAddr>, ready: &[Ready]) -> Result<Option<Idp>, AgentError> {
    let Some(address) = address else { return Ok(None) };
    let sets = ready.iter().filter_map(|ready| serde_json::from_str::<Value>(ready.jwks.as_deref()?).ok());
    let keys: Vec<Value> = sets.filter_map(|set| set["keys"].as_array().cloned()).flatten().collect();
    let idp = Idp::start_at(address, json!({ "keys": keys }).to_string());
    idp.map(Some).map_err(|error| SessionError::Listen { address, error }.into())
}

/// Starts an agent and passes on what it tells.
async fn follow(peer: Peer, run: u64, at_us: i64, patience: Duration, events: Sender<Event>) {
    let lost = |why: String, unreachable| {
        let why = format!("agent {}: {why}", peer.address);
        Event::Lost(Loss { why, unreachable })
    };
    let mut told: Told = match peer.start(run, at_us).await {
        Ok(told) => told,
        Err(error) => {
            let _ = events.send(Event::Lost(Loss { why: error.to_string(), unreachable: false })).await;
            return;
        }
    };
    let mut pieces = Pieces::default();
    let last = loop {
        let added = match told.next(patience).await {
            Ok(Line::Second { elapsed_ms, second, under_way }) => {
                let second = Event::Second { elapsed: Duration::from_millis(elapsed_ms), second, under_way };
                if events.send(second).await.is_err() {
                    return;
                }
                Ok(())
            }
            Ok(Line::Seconds(piece)) => pieces.add_seconds(piece),
            Ok(Line::Tenants(piece)) => pieces.add_tenants(piece),
            Ok(Line::Done(done)) => break Event::Done(peer.address.clone(), Box::new(pieces.whole(*done))),
            Ok(Line::Failed { why, unreachable }) => break lost(why, unreachable),
            Err(why) => Err(why),
        };
        if let Err(why) = added {
            break lost(why, false);
        }
    };
    let _ = events.send(last).await;
}

/// Tells all agents to end once this run is told to.
async fn pass_on(stop: Stop, runs: Vec<(Peer, u64)>) {
    stop.wait().await;
    let mut told = JoinSet::new();
    for (peer, run) in runs {
        told.spawn(async move { peer.stop(run).await });
    }
    told.join_all().await;
}

/// What was heard until the last agent ended.
struct Heard {
    done: Vec<(String, Done)>,
    lost: Vec<Loss>,
    aborted: Option<String>,
}

fn hear(
    mut events: Receiver<Event>,
    agents: usize,
    mut abort: Option<crate::slo::Watch>,
    planned: Duration,
    stop: &Stop,
    mut tell: impl FnMut(&Progress),
) -> Heard {
    let mut heard = Heard { done: Vec::new(), lost: Vec::new(), aborted: None };
    let mut seconds = merge::Seconds::default();
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Second { elapsed, second, under_way } => {
                let under_way_agents = agents - heard.done.len() - heard.lost.len();
                for progress in seconds.add(elapsed, &second, under_way, under_way_agents) {
                    tell(&progress);
                    session::watch(&mut abort, &mut heard.aborted, progress, planned, stop);
                }
            }
            Event::Done(agent, done) => heard.done.push((agent, *done)),
            Event::Lost(loss) => heard.lost.push(loss),
        }
    }
    heard
}

fn merged(
    job: &Job,
    heard: Heard,
    began: SystemTime,
    slo: Option<&crate::slo::Slo>,
    follower: Option<Follower>,
) -> Result<RunResult, AgentError> {
    let lost = heard.lost.iter().map(|loss| &*loss.why).collect::<Vec<_>>().join("; ");
    if heard.done.is_empty() {
        let unreachable = !heard.lost.is_empty() && heard.lost.iter().all(|loss| loss.unreachable);
        return Err(if unreachable { AgentError::Target(lost) } else { AgentError::Lost(lost) });
    }
    let stopped = heard.done.iter().any(|(_, done)| done.stopped);
    let ended = match heard.lost.is_empty() {
        false => Ended::Partial { why: format!("lost: {lost}") },
        true if stopped => Ended::Interrupted,
        true => Ended::Complete,
    };
    let measured = Measured {
        recording: merge::recording(&heard.done),
        generator: merge::generator(&heard.done),
        began,
        ended,
        delivery: None,
    };
    Ok(session::result(job, measured, heard.aborted, slo, follower))
}

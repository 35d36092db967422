//! The agent: one run at a time, for whoever has the secret.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::wire::{Done, Hello, Line, MAX_ORDER, Order, Ready, Start, VERSION, now_us, until};
use super::{AgentError, pieces};
use crate::load::{Prepared, Stop};
use crate::session::{self, Job, SessionError, Stand, Surroundings};

/// Connections at once.
const CONNECTIONS: usize = 16;
/// For a request's head and body.
const PATIENCE: Duration = Duration::from_secs(10);
/// Length of a run's name.
const RUN: std::ops::RangeInclusive<usize> = 1..=64;
/// Seconds that wait for a coordinator that reads slowly; more are left out, the recording at the end is whole.
const LINES: usize = 16;
/// A start further ahead is none.
const FURTHEST_START: Duration = Duration::from_secs(60);

type Reply = Response<BoxBody<Bytes, Infallible>>;

struct Agent {
    secret: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: u64,
    run: Option<Run>,
}

/// A run that is ready or under way.
struct Run {
    number: u64,
    stop: Stop,
    /// Until it is started.
    ready: Option<Share>,
}

/// What is to be sent.
struct Share {
    job: Job,
    stand: Stand,
    /// Where it is not there, that is told once all agents start: others may have found it.
    target: Result<Prepared, SessionError>,
}

/// Serves until it is stopped; a run that is under way then ends, too. Blocks. `ready` hears of the address.
///
/// # Errors
/// When it cannot listen, or `ready` fails.
pub fn serve(
    address: SocketAddr,
    secret: &str,
    stop: &Stop,
    ready: impl FnOnce(SocketAddr) -> std::io::Result<()>,
) -> Result<(), AgentError> {
    let agent = Arc::new(Agent { secret: secret.to_owned(), state: Mutex::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let fail = |error| AgentError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        ready(listener.local_addr().map_err(fail)?)?;
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(seat) = room.clone().acquire_owned().await else { return Ok(()) };
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    let agent = agent.clone();
                    tokio::spawn(async move {
                        let service = service_fn(|request| agent.clone().answer(request));
                        let served = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(PATIENCE)
                            .serve_connection(TokioIo::new(stream), service);
                        let _ = served.await;
                        drop(seat);
                    });
                },
                () = stop.wait() => {
                    if let Some(run) = &agent.state().run {
                        run.stop.tell();
                    }
                    return Ok(());
                }
            }
        }
    })
}

impl Agent {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Reply, Infallible> {
        let bearer = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let secret = bearer.strip_prefix(b"Bearer ").unwrap_or_default();
        if !bool::from(secret.ct_eq(self.secret.as_bytes())) {
            return Ok(text(StatusCode::UNAUTHORIZED, "another secret"));
        }
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let run = parts.get(2).and_then(|number| number.parse::<u64>().ok());
        Ok(match (request.method(), parts.as_slice(), run) {
            (&Method::GET, ["v1", "agent"], _) => {
                let busy = self.state().run.as_ref().is_some_and(|run| run.ready.is_none());
                json(&Hello { version: VERSION.to_owned(), clock_us: now_us(), busy })
            }
            (&Method::POST, ["v1", "runs"], _) => self.prepare(request).await.unwrap_or_else(|refusal| refusal),
            (&Method::POST, ["v1", "runs", _, "start"], Some(run)) => {
                self.start(run, request).await.unwrap_or_else(|refusal| refusal)
            }
            (&Method::POST, ["v1", "runs", _, "stop"], Some(run)) => self.stop(run),
            _ => text(StatusCode::NOT_FOUND, "there is GET /v1/agent and POST /v1/runs"),
        })
    }

    /// Signs tokens and finds the target, which takes its time; whatever was ready before and not started is forgotten.
    async fn prepare(&self, request: Request<Incoming>) -> Result<Reply, Reply> {
        let order: Order = read(request).await?;
        if order.version != VERSION {
            return Err(text(StatusCode::BAD_REQUEST, &format!("this agent speaks {VERSION}")));
        }
        if order.of == 0 || order.index >= order.of || order.of > super::MAX_AGENTS as u64 {
            return Err(text(StatusCode::BAD_REQUEST, "no such share"));
        }
        if !RUN.contains(&order.run.len()) || !order.run.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(text(StatusCode::BAD_REQUEST, "a run's name is of letters and digits"));
        }
        let number = {
            let mut state = self.state();
            if state.run.as_ref().is_some_and(|run| run.ready.is_none()) {
                return Err(text(StatusCode::CONFLICT, "busy with another run"));
            }
            state.runs += 1;
            state.run = None;
            state.runs
        };
        let mut job = order.job;
        job.schedule = job.schedule.share(order.index, order.of);
        let (of, index) = (order.of as usize, order.index as usize);
        job.connections = (job.connections / of + usize::from(index < job.connections % of)).max(1);
        let prepared = tokio::task::spawn_blocking(move || Share::prepare(job, &order.run));
        let failed = |why: String| text(StatusCode::UNPROCESSABLE_ENTITY, &why);
        let share = prepared.await.map_err(|error| failed(error.to_string()))?;
        let share = share.map_err(|error| failed(error.to_string()))?;
        let jwks = share.stand.jwks().map(str::to_owned);
        let mut state = self.state();
        if state.runs != number || state.run.is_some() {
            return Err(text(StatusCode::CONFLICT, "busy with another run"));
        }
        state.run = Some(Run { number, stop: Stop::new(), ready: Some(share) });
        Ok(json(&Ready { run: number, jwks }))
    }

    /// Answers with a line for each second and one with everything.
    async fn start(self: &Arc<Self>, number: u64, request: Request<Incoming>) -> Result<Reply, Reply> {
        let Start { at_us } = read(request).await?;
        // The wall clock is asked once: it may be set before the moment has come.
        let ahead = until(at_us);
        if ahead > FURTHEST_START {
            return Err(text(StatusCode::BAD_REQUEST, "too far ahead; is a clock wrong?"));
        }
        let start = Instant::now() + ahead;
        let (lines, told) = channel(LINES);
        let mut state = self.state();
        let run = state.run.as_mut().filter(|run| run.number == number);
        let Some(run) = run else { return Err(text(StatusCode::NOT_FOUND, "no such run")) };
        let Some(share) = run.ready.take() else { return Err(text(StatusCode::CONFLICT, "started already")) };
        let (agent, stop) = (self.clone(), run.stop.clone());
        let thread = std::thread::Builder::new().name("run".to_owned()).spawn(move || {
            let sent = share.send(start, &stop, &lines);
            agent.state().run = None;
            end(&lines, sent);
        });
        if let Err(error) = thread {
            state.run = None;
            return Err(text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()));
        }
        Ok(Response::new(Lines(told).boxed()))
    }

    fn stop(&self, number: u64) -> Reply {
        match self.state().run.as_ref().filter(|run| run.number == number) {
            Some(run) => {
                run.stop.tell();
                text(StatusCode::OK, "ending")
            }
            None => text(StatusCode::NOT_FOUND, "no such run"),
        }
    }
}

impl Share {
    fn prepare(job: Job, run: &str) -> Result<Share, SessionError> {
        let stand = Stand::of(&job, Surroundings::default(), run)?;
        let target = match Prepared::new(&job.target()?, &job.bounds()).map_err(SessionError::from) {
            Err(error) if !error.is_unreachable() => return Err(error),
            target => target,
        };
        Ok(Share { job, stand, target })
    }

    /// Sends, and tells of each second.
    fn send(self, start: Instant, stop: &Stop, lines: &Sender<Bytes>) -> Result<Done, SessionError> {
        let target = self.target?;
        let measured = session::measure(&self.job, &self.stand, &target, start, stop, |progress, _| {
            // Seconds that the coordinator is too slow for are left out. One that has gone ends the run: nobody would get
            // what it sees.
            let line = line(&progress.into());
            if line.is_some_and(|line| lines.try_send(line).is_err()) && lines.is_closed() {
                stop.tell();
            }
        })?;
        let stopped = measured.ended != crate::result::Ended::Complete;
        Ok(Done { stopped, recording: measured.recording, generator: measured.generator })
    }
}

/// Tells what a run came to, and waits for the coordinator to take it.
fn end(lines: &Sender<Bytes>, sent: Result<Done, SessionError>) {
    let tell = |told: Line| line(&told).is_some_and(|line| lines.blocking_send(line).is_ok());
    match sent {
        Ok(done) => {
            // Until it has gone.
            let _ = pieces::lines(done).all(tell);
        }
        Err(error) => {
            tell(Line::Failed { why: error.to_string(), unreachable: error.is_unreachable() });
        }
    }
}

fn line(line: &Line) -> Option<Bytes> {
    let mut bytes = serde_json::to_vec(line).ok()?;
    bytes.push(b'\n');
    Some(bytes.into())
}

/// A body of lines as they come.
struct Lines(Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Reply> {
    let body = Limited::new(request.into_body(), MAX_ORDER).collect();
    let bad = |why: &str| text(StatusCode::BAD_REQUEST, why);
    let body = tokio::time::timeout(PATIENCE, body).await.map_err(|_| bad("no whole request in time"))?;
    let body = body.map_err(|_| bad("no whole request, or too large a one"))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| bad(&error.to_string()))
}

fn json(value: &impl Serialize) -> Reply {
    Response::new(Full::from(serde_json::to_vec(value).unwrap_or_default()).boxed())
}

fn text(status: StatusCode, text: &str) -> Reply {
    let mut response = Response::new(Full::from(text.to_owned()).boxed());
    *response.status_mut() = status;
    response
}

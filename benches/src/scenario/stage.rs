//! The gateway and the parts around it, set up and changed while the load goes on.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use serde_json::Value;

use super::config::{self, Places};
use super::timeline::{Action, Deploy, Keys, Process};
use super::{Scenario, ScenarioError};
use crate::Error;
use crate::client::Client;
use crate::component;
use crate::gateway::{Admin, Gateway};
use crate::issuer::{Algorithm, Issuer, SCOPE, Subject};
use crate::load::{Expect, Source, Stop};
use crate::parts::{Erp, Held, Idp, SlowClients};
use crate::workload::{Traffic, Workload};

/// Longest wait for the gateway to serve: it may have components to compile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a request that is answered well.
const SETTLE: Duration = Duration::from_secs(20);
/// Longest wait for one answer while settling.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for a new configuration to be in force.
const RELOAD: Duration = Duration::from_secs(10);
/// Attempts at a pair of free ports: somebody may take one between the look and the start.
const PORTS: usize = 5;

/// See the module.
pub(super) struct Stage {
    pub erp: Arc<Erp>,
    pub traffic: Vec<Arc<Traffic>>,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    idp: Idp,
    issuer: Issuer,
    algorithm: Algorithm,
    gateway: Option<Gateway>,
    config: Value,
    sluis: PathBuf,
    components: PathBuf,
    dir: PathBuf,
    slow: Option<SlowClients>,
    /// What became of the connections of slow clients that were let go.
    held: Held,
    /// Versions that were deployed.
    versions: u32,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    /// Starts everything; `dir` is for the gateway's configuration and state.
    pub fn set_up(scenario: &Scenario, sluis: &Path, components: &Path, dir: &Path) -> Result<Stage, ScenarioError> {
        let algorithms = algorithms(scenario)?;
        let issuer = Issuer::with(&algorithms).map_err(ScenarioError::Issuer)?;
        let idp = Idp::start(issuer.jwks()).map_err(ScenarioError::system("the issuer's endpoint"))?;
        let erp = Erp::start(scenario.erp.clone()).map_err(ScenarioError::system("the ERP"))?;
        let mut traffic = Vec::new();
        for (n, stream) in scenario.streams.iter().enumerate() {
            let run = format!("r{n}");
            let one = Traffic::new(&stream.workload, &issuer, &run).map_err(ScenarioError::Issuer)?;
            erp.expect(&run, one.orders().clone());
            traffic.push(Arc::new(one));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ScenarioError::system("a runtime"))?;
        // Without components the folder still has to be there.
        let components = if scenario.components.is_empty() { dir.join("plugins") } else { components.to_owned() };
        std::fs::create_dir_all(&components).map_err(ScenarioError::system("the folder of components"))?;
        let components = std::path::absolute(&components).map_err(ScenarioError::system("the folder of components"))?;
        let mut attempt = 0;
        let (gateway, config) = loop {
            let [http, admin] = free_ports().map_err(ScenarioError::system("free ports"))?;
            let places = Places { http, admin, erp: erp.address(), idp: idp.address(), components: &components };
            let config = config::build(&places, &scenario.gateway, traffic.iter().flat_map(|one| one.tenant_ids()));
            attempt += 1;
            match Gateway::start(sluis, dir, &config.to_string(), PATIENCE) {
                Ok(gateway) => break (gateway, config),
                Err(error) if attempt < PORTS && error.to_string().contains("cannot listen") => {}
                Err(error) => return Err(ScenarioError::Gateway(error)),
            }
        };
        Ok(Stage {
            erp: Arc::new(erp),
            traffic,
            http: gateway.http,
            admin: gateway.admin,
            idp,
            issuer,
            algorithm: algorithms[0],
            gateway: Some(gateway),
            config,
            sluis: sluis.to_owned(),
            components,
            dir: dir.to_owned(),
            slow: None,
            held: Held::default(),
            versions: 0,
            runtime,
        })
    }

    /// Sends requests of the first load until one is answered well: by then the issuer's keys are there.
    pub fn settle(&self, workload: &Workload) -> Result<(), ScenarioError> {
        let settle = async {
            let traffic = Traffic::new(&Workload { users: 1, ..workload.clone() }, &self.issuer, "settle")?;
            let client = Client::new(self.http);
            let until = Instant::now() + SETTLE;
            let mut last = String::new();
            for number in 0.. {
                if Instant::now() > until {
                    return Err(format!("no good answer within {SETTLE:?}; the last one was {last}").into());
                }
                let planned = traffic.plan(number);
                if planned.expect != Expect::Success {
                    continue;
                }
                let mut request = planned.request.map(Full::new);
                request.headers_mut().insert("host", "api.test".parse()?);
                last = match tokio::time::timeout(ANSWER, client.send(request)).await {
                    Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
                    Ok(Ok(answer)) => format!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body())),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "none".to_owned(),
                };
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<(), Error>(())
        };
        self.runtime.block_on(settle).map_err(ScenarioError::Gateway)
    }

    /// Waits until then, or until it is told to stop. Whether it is time.
    pub fn wait(&self, until: Instant, stop: &Stop) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => true,
                () = stop.wait() => false,
            }
        })
    }

    /// Does it.
    pub fn act(&mut self, action: &Action) -> Result<(), Error> {
        match action {
            Action::Erp(behaviour) => self.erp.behave(behaviour.clone()),
            Action::Idp(behaviour) => self.idp.behave(behaviour.clone()),
            Action::Keys(Keys::Rotate) => {
                self.issuer.rotate()?;
                self.idp.publish(self.issuer.jwks());
                for traffic in &self.traffic {
                    traffic.renew_tokens(&self.issuer)?;
                }
            }
            Action::Keys(Keys::Retire) => {
                self.issuer.retire();
                self.idp.publish(self.issuer.jwks());
            }
            Action::Gateway(Process::Kill) => {
                self.gateway.take().ok_or("it does not run")?.kill()?;
            }
            Action::Gateway(Process::Start) => {
                let started = Gateway::start(&self.sluis, &self.dir, &self.config.to_string(), PATIENCE)?;
                self.gateway = Some(started);
            }
            Action::Reload(patch) => self.reload(patch)?,
            Action::Deploy(deploy) => self.deploy(deploy)?,
            Action::SlowClients(None) => {
                self.let_slow_clients_go();
            }
            Action::SlowClients(Some(count)) => {
                self.let_slow_clients_go();
                self.slow = Some(SlowClients::start(self.http, *count, &self.customer()?)?);
            }
        }
        Ok(())
    }

    /// Lets slow clients hang up, where there are some. What became of the connections of all that there were.
    pub fn let_slow_clients_go(&mut self) -> Held {
        if let Some(slow) = self.slow.take() {
            self.held.add(slow.end());
        }
        self.held
    }

    /// A field `authorization` of a user of the first tenant.
    fn customer(&self) -> Result<String, Error> {
        let tenant = self.traffic.iter().flat_map(|traffic| traffic.tenant_ids()).next();
        let subject = Subject { tenant, name: "slow", scope: SCOPE };
        Ok(format!("Bearer {}", self.issuer.sign(self.algorithm, subject, None)?))
    }

    /// An operator's token.
    fn operator(&self) -> Result<String, Error> {
        let subject = Subject { tenant: None, name: "bench", scope: &format!("gateway:operate {SCOPE}") };
        self.issuer.sign(self.algorithm, subject, None)
    }

    fn reload(&mut self, patch: &Value) -> Result<(), Error> {
        config::overlay(&mut self.config, patch);
        let gateway = self.gateway.as_ref().ok_or("it does not run")?;
        let admin = Admin::new(self.admin, self.operator()?);
        let config = self.config.to_string();
        self.runtime.block_on(async {
            let before = admin.plan().await?;
            gateway.reload(&self.dir, &config)?;
            admin.wait_for_plan(before, RELOAD).await
        })
    }

    fn deploy(&mut self, deploy: &Deploy) -> Result<(), Error> {
        self.versions += 1;
        let bytes = component::read(&self.components, &deploy.component)?;
        // Each version is other bytes, where the component can be marked; the gateway has to compile it.
        let bytes = component::marked(&bytes, self.versions as usize).unwrap_or(bytes);
        let admin = Admin::new(self.admin, self.operator()?);
        let version = format!("1.0.{}", self.versions);
        self.runtime.block_on(admin.deploy(&deploy.tenant, &deploy.plugin, &version, bytes))
    }
}

/// Algorithms of all loads' tokens.
fn algorithms(scenario: &Scenario) -> Result<Vec<Algorithm>, ScenarioError> {
    let mut all = Vec::new();
    for stream in &scenario.streams {
        for algorithm in stream.workload.signed_with()? {
            if !all.contains(&algorithm) {
                all.push(algorithm);
            }
        }
    }
    Ok(all)
}

/// Two ports of loopback that are free now. A gateway that is started again must find its own.
fn free_ports() -> std::io::Result<[SocketAddr; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([listeners[0].local_addr()?, listeners[1].local_addr()?])
}

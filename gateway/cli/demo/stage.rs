//! The whole demo in one process: stand-ins, gateway, tour; then up until it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluis_edge::server::{Options, Running, StartError};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::fault::Faults;
use super::issuer::Issuer;
use super::state::{self, Settings, State};
use super::tour::Addresses;
use super::{ADMIN, DemoError, HTTP, ISSUER, Stage, bind, erp, issuer, runtime, serve, stopped, tour};
use crate::client::{Call, Client};

/// What a small ERP on the next machine takes to answer.
const ERP_LATENCY: Duration = Duration::from_millis(20);
/// The gateway has this long to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(180);
const READY_PAUSE: Duration = Duration::from_millis(50);

/// Runs `sluis demo`.
///
/// # Errors
/// When something cannot be started; what arrived otherwise than it must is in the exit code.
#[allow(clippy::print_stdout)]
pub fn run(args: Stage) -> Result<ExitCode, DemoError> {
    let plugins = state::components(&args.plugins)?;
    let state = State::open(args.state.clone())?;
    log_to(&state)?;
    let runtime = runtime()?;
    let stand_ins = StandIns::start(&runtime, &args)?;
    let config = state.fill(&Settings {
        http: settled(args.http, "--http")?,
        https: settled(args.https, "--https")?,
        admin: settled(args.admin, "--admin")?,
        erp: stand_ins.erp.clone(),
        issuer: stand_ins.issuer.clone(),
        plugins,
    })?;
    let begin = Instant::now();
    // Starts runtimes of its own, so it must not run on ours.
    let gateway = start(config)?;
    let addresses = stand_ins.addresses(&gateway);
    let client = Client::new(Some(&state.path("certs/ca.pem")))?;
    let result = runtime.block_on(async {
        ready(&client, &addresses).await?;
        println!("{}", introduction(&addresses, &state, begin.elapsed()));
        let report = tour::run(&client, &addresses, &stand_ins.erp_faults).await;
        println!("{}", report.render());
        if !args.once {
            println!("{}", invitation(&addresses, &state));
            stopped().await;
        }
        Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    gateway.shutdown();
    runtime.block_on(stand_ins.stop());
    result
}

/// The issuer and the ERP, as they listen.
struct StandIns {
    erp: String,
    erp_faults: Arc<Faults>,
    issuer: String,
    stop: watch::Sender<bool>,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl StandIns {
    fn start(runtime: &Runtime, args: &Stage) -> Result<Self, DemoError> {
        let _inside = runtime.enter();
        let (erp_socket, erp) = runtime.block_on(listen(args.erp, "--erp"))?;
        let (issuer_socket, issuer) = runtime.block_on(listen(args.issuer, "--issuer"))?;
        let (stop, stopping) = watch::channel(false);
        let until = |mut stopping: watch::Receiver<bool>| async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let erp_faults = Faults::new(ERP_LATENCY);
        let app = erp::router(Arc::default(), &erp_faults);
        let erp_task = runtime.spawn(serve::serve(erp_socket, app, erp_faults.clone(), until(stopping.clone())));
        let faults = Faults::new(Duration::ZERO);
        let app = issuer::router(Issuer::new(issuer.clone())?, &faults);
        let issuer_task = runtime.spawn(serve::serve(issuer_socket, app, faults, until(stopping)));
        Ok(StandIns { erp, erp_faults, issuer, stop, running: vec![erp_task, issuer_task] })
    }

    fn addresses(&self, gateway: &Running) -> Addresses {
        let listener = |name: &str| {
            let found = gateway.listeners.iter().find(|(listener, _)| **listener == *name);
            found.map(|(_, address)| address.to_string()).unwrap_or_default()
        };
        Addresses {
            http: format!("http://{}", listener("http")),
            https: format!("https://{}", listener("https")),
            admin: format!("http://{}", gateway.admin),
            erp: self.erp.clone(),
            issuer: self.issuer.clone(),
        }
    }

    async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.running {
            let _ = task.await;
        }
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, String), DemoError> {
    let socket = bind(address, flag).await?;
    let address = socket.local_addr().unwrap_or(address);
    Ok((socket, format!("http://{address}")))
}

/// An address with its port chosen, so that the configuration that is written says it. Another program may take the
/// port before the gateway does; that shows at its start.
fn settled(address: SocketAddr, flag: &'static str) -> Result<SocketAddr, DemoError> {
    let socket = std::net::TcpListener::bind(address);
    let settled = socket.and_then(|socket| socket.local_addr());
    settled.map_err(|error| DemoError::Bind { address, flag, error })
}

/// Starts the gateway from the file that was written, by the code that `sluis run` starts it with.
fn start(config: PathBuf) -> Result<Running, DemoError> {
    let loaded = sluis_edge::load::load(&config)?;
    let worker = crate::run::worker();
    let options = Options { config, worker, upgrade: false };
    sluis_edge::server::start(loaded, options).map_err(|error| match error {
        StartError::Listen { name, address, reason } => {
            let flag = match &*name {
                "https" => "--https",
                "admin" => "--admin",
                _ => "--http",
            };
            DemoError::Bind { address, flag, error: reason }
        }
        error => DemoError::Gateway(error),
    })
}

/// Waits until the gateway says that it can serve.
async fn ready(client: &Client, addresses: &Addresses) -> Result<(), DemoError> {
    let begin = Instant::now();
    loop {
        let call = Call { url: format!("{}/readyz", addresses.admin), ..Call::default() };
        match client.send(call).await {
            Ok(reply) if reply.status.is_success() => return Ok(()),
            Err(error) if begin.elapsed() > READY_DEADLINE => return Err(error.into()),
            Ok(reply) if begin.elapsed() > READY_DEADLINE => {
                return Err(DemoError::NotReady(String::from_utf8_lossy(&reply.body).into_owned()));
            }
            _ => tokio::time::sleep(READY_PAUSE).await,
        }
    }
}

/// The gateway's JSON lines go to a file: the terminal is for the tour.
fn log_to(state: &State) -> Result<(), DemoError> {
    let path = state.path("gateway.log");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    crate::logging::start_into(file.map_err(|error| DemoError::Io { path, error })?);
    Ok(())
}

fn introduction(addresses: &Addresses, state: &State, took: Duration) -> String {
    let Addresses { http, https, admin, erp, issuer } = addresses;
    let kept = if state.is_temporary() { "removed at the end" } else { "kept" };
    format!(
        "\
▸ ERP stand-in  {erp}   (answers after {latency} ms; POST /_fault breaks it)
▸ token issuer  {issuer}/.well-known/jwks.json
▸ tenants       acme (Rust), hooli (JavaScript): Shopify → SAP Business One
                globex (Rust), vandelay (Python): WooCommerce → ERPNext
▸ gateway       {http}   {https}   (up after {took:.1} s)
▸ operators     {admin}   /readyz  /metrics
▸ state         {root}   ({kept}; gateway.yaml, gateway.log)
",
        latency = ERP_LATENCY.as_millis(),
        took = took.as_secs_f64(),
        root = state.path("").display(),
    )
}

/// Lines that work when they are pasted into another terminal.
fn invitation(addresses: &Addresses, state: &State) -> String {
    let Addresses { http, https, admin, erp, issuer } = addresses;
    let program = program();
    let flag = match issuer.strip_prefix("http://") {
        Some(ISSUER) | None => String::new(),
        Some(address) => format!(" --issuer {address}"),
    };
    let usual = *http == format!("http://{HTTP}") && *admin == format!("http://{ADMIN}") && flag.is_empty();
    let load = match issuer.strip_prefix("http://") {
        Some(address) if !usual => format!("={address} --target {http} --metrics {admin}"),
        _ => String::new(),
    };
    let port = https.rsplit(':').next().unwrap_or_default();
    let orders = state.path("orders");
    let orders = orders.display();
    let ca = state.path("certs/ca.pem");
    let ca = ca.display();
    format!(
        "\
Try it from another terminal (Ctrl-C here stops everything):

  # forward: the ERP's own answer comes back
  curl -i {http}/v1/orders -H \"Authorization: Bearer $({program} demo token acme{flag})\" \\
       -H 'Content-Type: application/json' -d @{orders}/shopify.json

  # enqueue: 202 and a Location, over HTTP/2; ask there what became of it
  curl -i --cacert {ca} https://localhost:{port}/v1/orders/async \\
       -H \"Authorization: Bearer $({program} demo token globex{flag})\" \\
       -H 'Content-Type: application/json' -d @{orders}/woocommerce.json

  # the same order sent twice under one key: both times 202 with the same Location, one order at the ERP
  for time in 1 2; do curl -i {http}/v1/orders/async -H \"Authorization: Bearer $({program} demo token acme{flag})\" \\
       -H 'Idempotency-Key: my-order' -H 'Content-Type: application/json' -d @{orders}/shopify.json; done

  # a malformed order: 422 with the JSON pointer of what is wrong
  curl -i {http}/v1/orders -H \"Authorization: Bearer $({program} demo token acme{flag})\" \\
       -H 'Content-Type: application/json' -d @{orders}/shopify-malformed.json

  # what the ERP holds, what the gateway counts, new signing keys
  curl {erp}/_orders
  curl {admin}/metrics
  curl -X POST {issuer}/_rotate

  # break the ERP for 20 s: both journeys answer 202 and keep the order, delivered once it is back
  curl {erp}/_fault -d '{{\"mode\":\"down\",\"for_ms\":20000}}'

  # half a minute of its shops' orders, a hundred a second, and what a customer would have waited
  {program} bench run --demo{load}
"
    )
}

/// How this program is called from anywhere.
fn program() -> String {
    let named = std::env::args().next().filter(|name| !name.contains('/'));
    let path = || std::env::current_exe().ok().map(|path| path.display().to_string());
    named.or_else(path).unwrap_or_else(|| "sluis".to_owned())
}

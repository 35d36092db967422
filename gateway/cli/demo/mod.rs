//! `sluis demo`: a token issuer, an ERP stand-in, the gateway and two tenants in one process, and a tour through
//! both journeys. The issuer and the stand-in run alone, too: `sluis demo issuer`, `sluis demo erp`.

mod amount;
mod cases;
mod documents;
mod erp;
mod fault;
mod filing;
mod issuer;
mod serve;
mod stage;
mod state;
mod tour;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;

pub use tour::token;

/// Where the demo's gateway serves, unless it is told otherwise.
pub const HTTP: &str = "127.0.0.1:8080";
/// Where its operators come in.
pub const ADMIN: &str = "127.0.0.1:9901";
/// Where its issuer listens.
pub const ISSUER: &str = "127.0.0.1:7002";

/// Run everything in one process, send a tour of orders through it, and stay up to be tried.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(flatten)]
    stage: Stage,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Settings of the whole demo. Port 0 takes a free one.
#[derive(Debug, clap::Args)]
struct Stage {
    /// End after the tour: with 0 if every order arrived as it must.
    #[arg(long)]
    once: bool,
    /// The gateway, in the clear.
    #[arg(long, value_name = "ADDRESS", default_value = HTTP)]
    http: SocketAddr,
    /// The gateway, over TLS with HTTP/2.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// The gateway's operators.
    #[arg(long, value_name = "ADDRESS", default_value = ADMIN)]
    admin: SocketAddr,
    /// The ERP stand-in.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7001")]
    erp: SocketAddr,
    /// The token issuer.
    #[arg(long, value_name = "ADDRESS", default_value = ISSUER)]
    issuer: SocketAddr,
    /// Folder of the tenants' components.
    #[arg(long, value_name = "DIR", default_value = "plugins/dist")]
    plugins: PathBuf,
    /// Folder for certificates, configuration, ledger and log, kept afterwards; a temporary one if absent.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Print a token of a tenant, from the issuer of a demo that runs.
    Token(TokenArgs),
    /// Run the ERP stand-in alone.
    #[command(hide = true)]
    Erp(erp::Args),
    /// Run the token issuer alone.
    #[command(hide = true)]
    Issuer(issuer::Args),
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    /// Whose token: acme, globex, hooli, vandelay, or any other for a token that is refused.
    tenant: String,
    /// Where the demo's issuer listens.
    #[arg(long, value_name = "ADDRESS", default_value = ISSUER)]
    issuer: SocketAddr,
    /// Scopes in place of the demo's, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// Life in seconds in place of an hour; a negative one makes an expired token.
    #[arg(long, allow_hyphen_values = true)]
    lifetime: Option<i64>,
}

/// Why the demo, or a part of it, could not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {error}; choose another with {flag} ADDRESS")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the operating system says.
        error: io::Error,
    },
    /// A component is not there.
    #[error(
        "{} is missing; build the tenants' components with `make plugins`, or name their folder with --plugins DIR",
        .path.display()
    )]
    Component {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// No runtime, or no temporary folder.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// No key.
    #[error(transparent)]
    Crypto(#[from] issuer::CryptoError),
    /// No certificates.
    #[error(transparent)]
    Certs(#[from] crate::certs::CertsError),
    /// No answer.
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    /// No issuer answers.
    #[error("{0}; is `sluis demo` running? Another address is named with --issuer ADDRESS")]
    NoIssuer(crate::client::ClientError),
    /// The configuration does not hold.
    #[error(transparent)]
    Load(#[from] sluis_model::config::ConfigError),
    /// The gateway does not start.
    #[error(transparent)]
    Gateway(sluis_edge::server::StartError),
    /// The gateway does not become ready.
    #[error("the gateway is not ready: {0}")]
    NotReady(String),
    /// Not a tenant's id.
    #[error("{0:?} is no tenant's id: lower-case letters, digits and hyphens")]
    Tenant(String),
}

/// Runs `sluis demo` or one of its parts.
#[allow(clippy::print_stderr)]
pub fn run(args: Args) -> ExitCode {
    let result = match args.part {
        Some(part) => run_part(part),
        None => stage::run(args.stage),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sluis demo: {error}");
        ExitCode::FAILURE
    })
}

fn run_part(part: Part) -> Result<ExitCode, DemoError> {
    runtime()?.block_on(async {
        match part {
            Part::Erp(args) => erp::run(&args, stopped()).await?,
            Part::Issuer(args) => issuer::run(&args, stopped()).await?,
            Part::Token(args) => print_token(&args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, DemoError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(DemoError::Runtime)
}

#[allow(clippy::print_stdout)]
async fn print_token(args: &TokenArgs) -> Result<(), DemoError> {
    if !args.tenant.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(DemoError::Tenant(args.tenant.clone()));
    }
    let mut parameters = String::new();
    if let Some(scope) = &args.scope {
        parameters.push_str("&scope=");
        parameters.push_str(&scope.replace('%', "%25").replace('&', "%26").replace('#', "%23").replace(' ', "%20"));
    }
    if let Some(lifetime) = args.lifetime {
        parameters.push_str(&format!("&lifetime={lifetime}"));
    }
    let client = crate::client::Client::new(None)?;
    let issuer = format!("http://{}", args.issuer);
    let token = tour::token(&client, &issuer, &args.tenant, &parameters).await.map_err(DemoError::NoIssuer)?;
    println!("{token}");
    Ok(())
}

/// Takes an address; the error names the flag that changes it.
async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, DemoError> {
    serve::bind(address).await.map_err(|error| DemoError::Bind { address, flag, error })
}

/// Ends with SIGINT or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

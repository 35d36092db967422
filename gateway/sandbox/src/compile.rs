//! The gateway's side of compilation: a child process with limits gets the component on stdin and returns the artefact
//! on stdout, or a refusal on stderr. What the child does with hostile bytes ends with the child.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::error::LoadError;
use crate::load::SandboxSettings;
use crate::text;

/// Seconds of CPU, for the worker.
pub(crate) const ENV_CPU: &str = "SLUIS_COMPILE_CPU_SECONDS";
/// Bytes of address space, for the worker.
pub(crate) const ENV_MEMORY: &str = "SLUIS_COMPILE_MEMORY_BYTES";
/// Exit status of a worker that refused; `code`, a tab and the detail are on its stderr.
pub(crate) const REFUSED: u8 = 3;

/// Bytes of stderr that are read.
const STDERR_BYTES: u64 = 8 << 10;
/// The worker may take this much longer than its CPU time, on a busy machine.
const PATIENCE: u32 = 2;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// Compiles `bytes` in a child process.
pub(crate) async fn compile(settings: &SandboxSettings, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut child = spawn(settings)?;
    let exchange = exchange(&mut child, bytes, settings.compile_memory);
    let patience = settings.compile_timeout.saturating_mul(PATIENCE);
    let Ok(exchange) = tokio::time::timeout(patience, exchange).await else {
        // Dropping it would kill it too; waiting leaves no zombie behind.
        let _ = child.kill().await;
        return Err(LoadError::CompileTimeout);
    };
    let (status, artefact, stderr) = exchange.map_err(|error| LoadError::CompileCrash(error.to_string()))?;
    if status.success() && !artefact.is_empty() {
        return Ok(artefact);
    }
    Err(why(status, &String::from_utf8_lossy(&stderr)))
}

fn spawn(settings: &SandboxSettings) -> Result<Child, LoadError> {
    let cpu = whole_seconds(settings.compile_timeout);
    Command::new(&settings.worker.program)
        .args(&settings.worker.args)
        // Nothing of the gateway's environment is the worker's business.
        .env_clear()
        .env(ENV_CPU, cpu.to_string())
        .env(ENV_MEMORY, settings.compile_memory.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| LoadError::CompileCrash(format!("the worker does not start: {error}")))
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

async fn exchange(child: &mut Child, bytes: &[u8], max: u64) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A worker that died early says why by its status, not by our broken pipe.
            let _ = stdin.write_all(bytes).await;
            let _ = stdin.shutdown().await;
        }
    };
    let (_, artefact, stderr) = tokio::join!(write, read(stdout, max), read(stderr, STDERR_BYTES));
    let status = child.wait().await?;
    Ok((status, artefact?, stderr?))
}

async fn read(from: Option<impl AsyncRead + Unpin>, max: u64) -> std::io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(max).read_to_end(&mut buffer).await?;
        // The rest is read and thrown away, so that the child is not stuck on a full pipe until the timeout.
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(buffer)
}

fn why(status: ExitStatus, stderr: &str) -> LoadError {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if status.code() == Some(i32::from(REFUSED)) {
        let (code, detail) = last.split_once('\t').unwrap_or(("", last));
        return LoadError::from_worker(code, text::escape(detail, 512));
    }
    match status.signal() {
        Some(SIGXCPU | SIGKILL) => LoadError::CompileTimeout,
        // The standard library aborts with these words when the address space is used up.
        Some(SIGABRT) if stderr.contains("memory allocation of") => LoadError::CompileMemory,
        _ => LoadError::CompileCrash(text::escape(&format!("{status}: {last}"), 512)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a158_a159_a160_the_way_a_worker_ends_tells_why() {
        let ended = |raw: i32, stderr: &str| why(ExitStatus::from_raw(raw), stderr).code();
        assert_eq!(ended(SIGXCPU, ""), "compile-timeout");
        assert_eq!(ended(SIGKILL, ""), "compile-timeout");
        assert_eq!(ended(SIGABRT, "memory allocation of 1048576 bytes failed\n"), "compile-memory");
        assert_eq!(ended(SIGABRT, "thread main has overflowed its stack"), "compile-crash");
        assert_eq!(ended(11, ""), "compile-crash");
        let refused = i32::from(REFUSED) << 8;
        assert_eq!(ended(refused, "feature-disabled\tthreads"), "feature-disabled");
        assert_eq!(ended(refused, "noise\ntoo-complex\tmany\n\n"), "too-complex");
        assert_eq!(ended(refused, "capability-not-granted\tnot a worker's to say"), "compile-crash");
        assert_eq!(ended(refused, ""), "compile-crash");
        assert_eq!(ended(1 << 8, "too-complex\tmany"), "compile-crash");
    }
}

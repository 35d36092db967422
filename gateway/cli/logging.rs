//! Logs: one JSON object a line on standard output, in UTC. `SLUIS_LOG` takes filters such as `info,sluis_edge=debug`.

use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for a slow or full output; past that, lines are dropped and requests go on.
const WAITING: usize = 8192;

/// Hands whole lines to a thread, so that no request waits for the output.
#[derive(Clone)]
struct Lines(SyncSender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        match self.0.try_send(line.to_vec()) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

/// Starts logging for the process. A second call changes nothing.
pub fn start() {
    start_into(std::io::stdout());
}

/// The same, to `out`.
pub fn start_into(mut out: impl Write + Send + 'static) {
    let (sender, lines) = sync_channel::<Vec<u8>>(WAITING);
    std::thread::spawn(move || {
        for line in lines {
            // A full disk or a closed pipe takes the log, never the service.
            let _ = out.write_all(&line);
        }
    });
    // pingora logs every failed handshake as an error; anyone on the network can cause those.
    let filter =
        EnvFilter::try_from_env("SLUIS_LOG").unwrap_or_else(|_| EnvFilter::new("info,pingora=off,pingora_core=off"));
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(Lines(sender))
        .try_init();
}

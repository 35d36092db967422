//! Ctrl-C and SIGTERM: once to end with what there is, twice to end at once.

use sluis_bench::live;
use sluis_bench::load::Stop;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for signals on a thread of its own.
///
/// # Errors
/// When there is no such thread.
pub fn on_signal(stop: &Stop) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait(&stop)))?;
    Ok(())
}

async fn wait(stop: &Stop) {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    for first in [true, false] {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        if first {
            stop.tell();
            crate::mention("\nending; once more to end at once, without a result");
        }
    }
    // No destructor does it any more.
    live::give_back();
    #[allow(clippy::disallowed_methods, reason = "asked for twice: nothing is left to be tidied up for")]
    std::process::exit(i32::from(super::INTERRUPTED));
}

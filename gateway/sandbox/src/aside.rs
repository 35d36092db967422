//! Where calls of heavy tenants run: a few threads of their own, to which the kernel prefers all others. On a thread that
//! serves requests, a guest that computes keeps whatever comes to that thread waiting for a tick; and at equal priority the
//! kernel lets it finish its slice before a request has its turn. Calls of `on-event` stay with the workers that deliver:
//! nobody's request waits on those threads.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Niceness of the threads: a tenth of what others weigh.
const GIVES_WAY: i32 = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Aside {
    /// There until this is dropped.
    runtime: Option<Runtime>,
}

/// Given up when dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Aside {
    /// With so many threads.
    pub(crate) fn start(threads: usize) -> std::io::Result<Aside> {
        let give_way = || {
            // Linux has it by thread. Where it is refused, they are as others are.
            if let Err(error) = rustix::process::setpriority_process(None, GIVES_WAY) {
                tracing::debug!(%error, "the threads of heavy calls do not give way");
            }
        };
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads.max(1)).thread_name("heavy-calls").on_thread_start(give_way).enable_all();
        Ok(Aside { runtime: Some(builder.build()?) })
    }

    /// Has something done there; none where it did not come to its end.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let mut task = Task(self.runtime.as_ref()?.spawn(work));
        (&mut task.0).await.ok()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Without waiting: it may be a task that drops this.
        let _ = self.runtime.take().map(Runtime::shutdown_background);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_there_gives_way_and_is_given_up_with_whoever_waits() {
        let aside = Aside::start(1).unwrap();
        let own = rustix::process::getpriority_process(None).unwrap();
        let place = async {
            let name = std::thread::current().name().map(str::to_owned);
            (name, rustix::process::getpriority_process(None).ok())
        };
        let (name, niceness) = aside.run(place).await.unwrap();
        assert_eq!((name.as_deref(), niceness), (Some("heavy-calls"), Some(own.max(GIVES_WAY))));

        let (held, gone) = tokio::sync::oneshot::channel::<()>();
        let mut waits = Box::pin(aside.run(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(waits);
        assert!(gone.await.is_err(), "its work was dropped");
        assert_eq!(aside.run(async { panic!("a defect") }).await, None::<()>);
    }
}

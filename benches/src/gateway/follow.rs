//! A gateway's metrics, read each second while a run goes on.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use tokio::sync::watch;

use super::metrics::Kept;
use crate::Error;
use crate::client::Client;

/// Between two looks, and the longest that one takes.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the first one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where metrics are read, in Prometheus' text format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    address: SocketAddr,
    host: String,
    path: String,
}

impl Page {
    /// Of a gateway whose operators' listener is at `address`.
    pub fn of(address: SocketAddr) -> Page {
        Page { address, host: address.to_string(), path: "/metrics".to_owned() }
    }

    /// Of a URL such as `http://10.0.0.7:9901/metrics`; the path may be left out. Looks the host up.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Page, Error> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().ok_or("names no host; such as http://127.0.0.1:9901/metrics is wanted")?;
        if uri.scheme_str() != Some("http") {
            return Err("metrics are read over http in the clear".into());
        }
        let host = authority.host().trim_matches(['[', ']']);
        let mut found = (host, authority.port_u16().unwrap_or(80)).to_socket_addrs()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "/" { "/metrics" } else { path };
        let address = found.next().ok_or("the host has no address")?;
        Ok(Page { address, host: authority.as_str().to_owned(), path: path.to_owned() })
    }
}

/// Reads a page on a thread of its own until it is ended or dropped. While nobody answers there is nothing to see.
pub struct Follower {
    kept: Arc<Mutex<Kept>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Looks for the first time, then each second. Times count from `first`.
    ///
    /// # Errors
    /// When the first look fails.
    pub fn start(page: &Page, first: Instant) -> Result<Follower, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (kept, (stop, stopped)) = (Arc::<Mutex<Kept>>::default(), watch::channel(false));
        let reader = Reader { client: Client::new(page.address), page: page.clone(), first, kept: kept.clone() };
        let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, reader.look()).await });
        looked.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let thread = thread.spawn(move || runtime.block_on(reader.follow(stopped)))?;
        Ok(Follower { kept, stop, thread: Some(thread) })
    }

    /// Breakers as they were at the last look.
    pub fn breakers(&self) -> Vec<(String, f64)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).breakers()
    }

    /// Looks no more; what was kept.
    pub fn end(mut self) -> Kept {
        self.finish();
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn finish(&mut self) {
        self.stop.send_replace(true);
        // It has nothing to tell; where it panicked, there is less to see.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What the thread works with.
struct Reader {
    client: Client,
    page: Page,
    first: Instant,
    kept: Arc<Mutex<Kept>>,
}

impl Reader {
    async fn follow(self, mut stop: watch::Receiver<bool>) {
        let mut every = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // A gateway that is killed and started again is seen again.
            let _ = tokio::time::timeout(EVERY, self.look()).await;
        }
    }

    async fn look(&self) -> Result<(), Error> {
        let request = Request::get(&self.page.path).header("host", &self.page.host).body(Full::new(Bytes::new()))?;
        let answer = self.client.send(request).await?;
        if !answer.status().is_success() {
            return Err(format!("{}", answer.status()).into());
        }
        let now = Instant::now();
        let after = now.saturating_duration_since(self.first).as_secs_f64();
        let before = self.first.saturating_duration_since(now).as_secs_f64();
        let text = String::from_utf8_lossy(answer.body());
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).look(after - before, &text);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_url_in_the_clear() {
        let page = Page::parse("http://127.0.0.1:9901").unwrap();
        assert_eq!(page, Page::of("127.0.0.1:9901".parse().unwrap()));
        let page = Page::parse("http://[::1]:9/stats/prometheus?usedonly").unwrap();
        assert_eq!((page.address.to_string().as_str(), &*page.path), ("[::1]:9", "/stats/prometheus?usedonly"));
        for (url, says) in [
            ("127.0.0.1:9901", "in the clear"),
            ("/metrics", "names no host"),
            ("https://127.0.0.1/metrics", "in the clear"),
        ] {
            let error = Page::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}

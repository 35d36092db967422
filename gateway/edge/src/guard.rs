//! In front of pingora's parser: connection permits, in all and per address.
//!
//! A deadline over the whole head and a strict grammar before parsing belong here too; until they are, `head` checks
//! what can still be seen after the parse.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dashmap::DashMap;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use sluis_model::plan::ServerLimits;

use crate::metrics::Metrics;
use crate::serve::Ingress;

/// Takes a permit for every connection and hands it on.
pub struct Guard {
    ingress: Arc<Ingress>,
    permits: Arc<Connections>,
    metrics: Arc<Metrics>,
}

/// Open connections; bounded by its own cap, so the map is too.
struct Connections {
    total: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
    max_total: usize,
    max_per_address: usize,
}

/// One open connection.
struct Permit {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
    metrics: Arc<Metrics>,
}

impl Guard {
    /// Caps are those of the plan at start.
    pub fn new(ingress: Arc<Ingress>, limits: &ServerLimits, metrics: Arc<Metrics>) -> Self {
        let permits = Connections {
            total: AtomicUsize::new(0),
            by_address: DashMap::new(),
            max_total: limits.connections,
            max_per_address: limits.connections_per_address,
        };
        Guard { ingress, permits: Arc::new(permits), metrics }
    }

    fn admit(&self, address: Option<IpAddr>) -> Result<Permit, &'static str> {
        let connections = &self.permits;
        if connections.total.fetch_add(1, Ordering::Relaxed) >= connections.max_total {
            connections.total.fetch_sub(1, Ordering::Relaxed);
            return Err("total");
        }
        if let Some(address) = address {
            let mut open = connections.by_address.entry(address).or_insert(0);
            if *open >= connections.max_per_address {
                drop(open);
                connections.total.fetch_sub(1, Ordering::Relaxed);
                return Err("address");
            }
            *open += 1;
        }
        self.metrics.connections.inc();
        Ok(Permit { connections: connections.clone(), address, metrics: self.metrics.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
        if let Some(address) = self.address {
            self.connections.by_address.remove_if_mut(&address, |_, open| {
                *open -= 1;
                *open == 0
            });
        }
    }
}

#[async_trait]
impl ServerApp for Guard {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let address = stream
            .get_socket_digest()
            .and_then(|digest| digest.peer_addr().and_then(|addr| addr.as_inet()).map(std::net::SocketAddr::ip));
        match self.admit(address) {
            Ok(_permit) => ServerApp::process_new(&self.ingress, stream, shutdown).await,
            Err(cap) => {
                self.metrics.connections_refused.with_label_values(&[cap]).inc();
                None
            }
        }
    }
}

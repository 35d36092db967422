//! Which addresses may be connected to for somebody whose word is not to be trusted.
//!
//! The check stands behind name resolution, on the addresses that are really dialled: a name that pointed to a public host
//! when the plan was checked and points to 127.0.0.1 now (DNS rebinding) gets no connection.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

/// Addresses of one name that are tried at most.
const MOST_ADDRESSES: usize = 16;
/// Names that are looked up at once.
const MOST_LOOKUPS: usize = 64;

/// Name → addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, a DNS name.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver, for a few names at once: a lookup cannot be ended, goes on after whoever asked has
/// gone, and takes a thread of those that the gateway's own lookups need.
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver { lookups: Arc::new(Semaphore::new(MOST_LOOKUPS)) }
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            drop(permit);
            found
        });
        Ok(lookup.await.map_err(io::Error::other)??.map(|address| address.ip()).collect())
    }
}

/// Marks an error as ours, in the chain of errors that the HTTP client returns.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
struct AddressRefused;

/// A resolver that hands out public addresses only, unless `allow_private`.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub inner: Arc<dyn Resolve>,
    pub allow_private: bool,
}

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Guarded { inner, allow_private } = self.clone();
        Box::pin(async move {
            let mut addresses = inner.resolve(name.as_str()).await?;
            addresses.retain(|address| allow_private || is_public(*address));
            addresses.truncate(MOST_ADDRESSES);
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, AddressRefused));
            }
            Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

/// Whether `host`, as a URL has it, is an address that is not public. A literal address never meets a resolver.
pub(crate) fn is_private_literal(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    literal.is_ok_and(|address| !is_public(address))
}

/// Whether an error of the HTTP client is a [`Guarded`] resolver's refusal.
pub(crate) fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An `io::Error` shows what it wraps by `get_ref`, not by `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if wrapped.is_some_and(|wrapped| wrapped.is::<AddressRefused>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether an address is a host on the public Internet, by the IANA special-purpose registries (RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |network: [u8; 4], bits: u32| {
        let mask = u32::MAX << (32 - bits);
        address.to_bits() & mask == u32::from_be_bytes(network)
    };
    const SPECIAL: [([u8; 4], u32); 14] = [
        ([0, 0, 0, 0], 8),       // this network
        ([10, 0, 0, 0], 8),      // private
        ([100, 64, 0, 0], 10),   // shared by carriers
        ([127, 0, 0, 0], 8),     // loopback
        ([169, 254, 0, 0], 16),  // link-local, where clouds serve credentials
        ([172, 16, 0, 0], 12),   // private
        ([192, 0, 0, 0], 24),    // protocol assignments
        ([192, 0, 2, 0], 24),    // documentation
        ([192, 88, 99, 0], 24),  // 6to4 relays
        ([192, 168, 0, 0], 16),  // private
        ([198, 18, 0, 0], 15),   // benchmarks
        ([198, 51, 100, 0], 24), // documentation
        ([203, 0, 113, 0], 24),  // documentation
        ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
    ];
    !SPECIAL.iter().any(|(network, bits)| within(*network, *bits))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = || {
        let [.., high, low] = segments;
        Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, _, _] => is_public_v4(embedded()),
        // NAT64 (RFC 6052): the public way to IPv4 where only IPv6 is routed.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => is_public_v4(embedded()),
        // Protocol assignments (Teredo, ORCHID …), documentation, 6to4.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast; everything else is local, multicast or not assigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

//! The shop: orders in an open loop, each with its key, and what came of each.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sluis_bench::Error;
use sluis_bench::client::Client;
use sluis_bench::pace::pace;
use sluis_bench::workload::Orders;
use tokio::sync::mpsc::channel;
use tokio::task::JoinSet;

/// A request without an answer after this long has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Keys in turn: a key's next order comes long before its last one is delivered.
pub const KEYS: u64 = 500;
/// What names of orders begin with.
pub const RUN: &str = "shop";
/// One order in so many is critical.
const CRITICAL_ONE_IN: u64 = 10;

/// One order as the shop saw it.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// From the start.
    pub at: Duration,
    /// From its moment to the end of its answer.
    pub latency: Duration,
    /// 0 for none.
    pub status: u16,
    pub critical: bool,
    pub number: u64,
}

/// See the module.
pub struct Load {
    client: Client,
    token: String,
    orders: Arc<Orders>,
    sent: Mutex<Vec<Sent>>,
}

impl Load {
    pub fn new(gateway: SocketAddr, token: String, orders: Arc<Orders>) -> Load {
        Load { client: Client::new(gateway), token, orders, sent: Mutex::default() }
    }

    /// Sends until `end`. A key has one order on its way at a time, as a shop that cares for their order has: its next one
    /// is sent when the one before it was answered.
    pub async fn run(
        self: Arc<Self>,
        end: Duration,
        rate: impl Fn(Duration) -> f64 + Send + 'static,
    ) -> Result<(), Error> {
        let (sender, mut moments) = channel(1 << 16);
        let pacer = std::thread::Builder::new().name("pacer".to_owned()).spawn(move || pace(&sender, end, rate))?;
        let turns: Arc<Vec<tokio::sync::Mutex<()>>> =
            Arc::new((0..KEYS).map(|_| tokio::sync::Mutex::new(())).collect());
        let mut orders = JoinSet::new();
        let mut number = 0;
        while let Some(intended) = moments.recv().await {
            number += 1;
            let (load, turns) = (self.clone(), turns.clone());
            orders.spawn(async move {
                let _turn = turns[(number % KEYS) as usize].lock().await;
                load.send(number, intended).await
            });
            while orders.try_join_next().is_some() {}
        }
        while let Some(done) = orders.join_next().await {
            done??;
        }
        pacer.join().map_err(|_| "the pacer panicked")?;
        Ok(())
    }

    async fn send(&self, number: u64, intended: Instant) -> Result<(), Error> {
        let key = number % KEYS;
        // By the key, so that a key's orders are all of one lane.
        let critical = key.is_multiple_of(CRITICAL_ONE_IN);
        let body = format!("{{\"id\":\"{RUN}-{number}\",\"key\":{key},\"pad\":\"{}\"}}", "x".repeat(900));
        let request = Request::post(if critical { "/v1/critical" } else { "/v1/orders" })
            .header("host", "api.test")
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("ce-specversion", "1.0")
            .header("ce-id", format!("{RUN}-{number}"))
            .header("ce-source", "/shop")
            .header("ce-type", "shop.order")
            .header("ce-partitionkey", format!("order-{key}"))
            .body(Full::new(Bytes::from(body)))?;
        self.orders.sent(number, key as usize);
        let answer = tokio::time::timeout(TIMEOUT, self.client.send(request)).await;
        let status = answer.ok().and_then(Result::ok).map_or(0, |answer| answer.status().as_u16());
        if status == 202 {
            self.orders.accepted(number, key as usize);
        }
        let (at, latency) = (intended.saturating_duration_since(self.orders.began()), intended.elapsed());
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(Sent { at, latency, status, critical, number });
        Ok(())
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Orders accepted in each second.
    pub fn seconds(&self) -> Vec<u64> {
        let mut seconds = Vec::new();
        for sent in self.sent().iter().filter(|sent| sent.status == 202) {
            let second = sent.at.as_secs() as usize;
            if seconds.len() <= second {
                seconds.resize(second + 1, 0);
            }
            seconds[second] += 1;
        }
        seconds
    }
}

//! What stands behind a call's capabilities, and what it was asked and answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluis_model::http_client::{Answer, Answering as Sending, HttpClient, HttpFault, Outgoing};
use sluis_model::kv::{Answering, Edit, Edited, Kv};

/// Exchanges that are kept of one call.
const MOST: usize = 100;

/// State that remembers what it held before the call.
#[derive(Debug)]
pub(super) struct HeardKv {
    store: Arc<dyn Kv>,
    before: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl HeardKv {
    pub(super) fn new(store: Arc<dyn Kv>) -> Self {
        HeardKv { store, before: Mutex::default() }
    }

    /// What the keys that were used held.
    pub(super) fn before(&self) -> BTreeMap<String, Vec<u8>> {
        self.before.lock().iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
    }

    fn is_new(&self, key: &str) -> bool {
        !self.before.lock().contains_key(key)
    }

    async fn look(&self, tenant: &str, key: &str) -> Result<Option<Vec<u8>>, sluis_model::kv::KvFault> {
        let value = self.store.get(tenant, key).await?;
        self.before.lock().entry(key.to_owned()).or_insert_with(|| value.clone());
        Ok(value)
    }
}

impl Kv for HeardKv {
    fn get<'a>(&'a self, tenant: &'a str, key: &'a str) -> Answering<'a, Option<Vec<u8>>> {
        Box::pin(self.look(tenant, key))
    }

    fn edit<'a>(&'a self, tenant: &'a str, key: &'a str, edit: Edit, quota: u64) -> Answering<'a, Edited> {
        Box::pin(async move {
            if self.is_new(key) {
                self.look(tenant, key).await?;
            }
            self.store.edit(tenant, key, edit, quota).await
        })
    }
}

/// A request that was sent, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct HeardExchange {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) answer: Result<Answer, HttpFault>,
}

/// A client that remembers.
#[derive(Debug)]
pub(super) struct HeardHttp {
    client: Arc<dyn HttpClient>,
    exchanges: Mutex<Vec<HeardExchange>>,
}

impl HeardHttp {
    pub(super) fn new(client: Arc<dyn HttpClient>) -> Self {
        HeardHttp { client, exchanges: Mutex::default() }
    }

    pub(super) fn exchanges(&self) -> Vec<HeardExchange> {
        self.exchanges.lock().clone()
    }
}

impl HttpClient for HeardHttp {
    fn send(&self, outgoing: Outgoing, timeout: Duration) -> Sending<'_> {
        Box::pin(async move {
            let (method, url) = (outgoing.method.clone(), outgoing.url.clone());
            let answer = self.client.send(outgoing, timeout).await;
            let mut exchanges = self.exchanges.lock();
            if exchanges.len() < MOST {
                exchanges.push(HeardExchange { method, url, answer: answer.clone() });
            }
            answer
        })
    }
}

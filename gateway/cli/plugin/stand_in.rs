//! What stands behind the capabilities while fixtures run: state in memory, systems that answer as they were told.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluis_model::http_client::{Answer, Answering as Sending, HttpClient, HttpFault, Outgoing};
use sluis_model::kv::{Answering, Edit, Edited, Entry, Kv, KvFault, Write, apply, check_key, cost};

use super::fixture::Exchange;

/// State that ends with the fixture.
#[derive(Debug, Default)]
pub struct MemoryKv(Mutex<HashMap<String, Entry>>);

impl MemoryKv {
    /// Holding these values.
    pub fn holding<'a>(values: impl Iterator<Item = (&'a String, &'a String)>) -> Self {
        let entry = |(key, value): (&String, &String)| {
            (key.clone(), Entry { value: value.clone().into_bytes(), expires_at: None })
        };
        MemoryKv(Mutex::new(values.map(entry).collect()))
    }

    fn look(&self, key: &str) -> Result<Option<Vec<u8>>, KvFault> {
        check_key(key)?;
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.get(key).filter(|entry| is_live(entry, now())).map(|entry| entry.value.clone()))
    }

    fn change(&self, key: &str, edit: Edit, quota: u64) -> Result<Edited, KvFault> {
        check_key(key)?;
        let now = now();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| is_live(entry, now));
        let (write, edited) = apply(edit, entries.get(key).cloned(), now)?;
        match write {
            Write::Keep => {}
            Write::Remove => drop(entries.remove(key)),
            Write::Put(entry) => {
                let others = entries.iter().filter(|(other, _)| *other != key);
                let kept: u64 = others.map(|(key, entry)| cost(key, &entry.value)).sum();
                if kept + cost(key, &entry.value) > quota {
                    return Err(KvFault::Quota);
                }
                entries.insert(key.to_owned(), entry);
            }
        }
        Ok(edited)
    }
}

impl Kv for MemoryKv {
    fn get<'a>(&'a self, _tenant: &'a str, key: &'a str) -> Answering<'a, Option<Vec<u8>>> {
        Box::pin(async move { self.look(key) })
    }

    fn edit<'a>(&'a self, _tenant: &'a str, key: &'a str, edit: Edit, quota: u64) -> Answering<'a, Edited> {
        Box::pin(async move { self.change(key, edit, quota) })
    }
}

fn is_live(entry: &Entry, now: u64) -> bool {
    entry.expires_at.is_none_or(|at| now < at)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Systems that answer what the fixture says, each exchange once and in its turn.
#[derive(Debug)]
pub struct Systems {
    left: Mutex<VecDeque<Exchange>>,
    unexpected: Mutex<Vec<String>>,
}

impl Systems {
    /// Answering so.
    pub fn answering(exchanges: &[Exchange]) -> Self {
        Systems { left: Mutex::new(exchanges.iter().cloned().collect()), unexpected: Mutex::default() }
    }

    /// Requests that were not expected, and those that were and did not come.
    pub fn complaints(&self) -> Vec<String> {
        let mut all = self.unexpected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(left.iter().map(|exchange| format!("http: {} {} was not sent", method(exchange), exchange.url)));
        all
    }

    fn answer(&self, outgoing: &Outgoing) -> Result<Answer, HttpFault> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = left.front().is_some_and(|next| method(next) == outgoing.method && next.url == outgoing.url);
        let Some(exchange) = left.pop_front_if(|_| expected) else {
            let complaint = format!("http: {} {} was not expected here", outgoing.method, outgoing.url);
            self.unexpected.lock().unwrap_or_else(PoisonError::into_inner).push(complaint);
            return Err(HttpFault::NotAllowed);
        };
        if let Some(word) = &exchange.fault {
            return Err(fault(word));
        }
        Ok(Answer {
            status: exchange.status.unwrap_or(200),
            headers: exchange.headers.into_iter().collect(),
            body: exchange.body.map(|body| body.bytes()).unwrap_or_default(),
        })
    }
}

impl HttpClient for Systems {
    fn send(&self, outgoing: Outgoing, _timeout: Duration) -> Sending<'_> {
        Box::pin(async move { self.answer(&outgoing) })
    }
}

fn method(exchange: &Exchange) -> &str {
    exchange.method.as_deref().unwrap_or("GET")
}

fn fault(word: &str) -> HttpFault {
    let all = [HttpFault::NotAllowed, HttpFault::Malformed, HttpFault::TooLarge, HttpFault::Timeout];
    all.into_iter().find(|fault| fault.label() == word).unwrap_or(HttpFault::Connection)
}

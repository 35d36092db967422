//! What the ERP stand-in holds: documents in the order they came, each event once. Bounded in number and bytes;
//! past the bound it refuses, it never forgets by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use serde::Serialize;
use serde::ser::SerializeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::documents::{Summary, System};

const MAX_DOCUMENTS: usize = 500_000;
const MAX_BYTES: usize = 1 << 30;

/// A document on its way in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The endpoint it came by.
    pub path: String,
    /// CloudEvents `id`, where it came as an event.
    pub event_id: Option<String>,
    /// `x-correlation-id`.
    pub correlation_id: Option<String>,
    /// CloudEvents `source`.
    pub source: Option<String>,
    /// What it says; none for events that are no orders.
    pub summary: Option<Summary>,
    /// The bytes themselves.
    pub body: Bytes,
    /// When it came.
    pub at: OffsetDateTime,
}

/// A document filed.
#[derive(Debug, Clone)]
pub struct Record {
    /// Counts all documents from 1.
    pub sequence: u64,
    /// Counts the documents of one system from 1: SAP's `DocEntry`.
    pub number: u64,
    /// The document's number as its system words it.
    pub document: String,
    /// How often it came; more than once only for events.
    pub deliveries: u64,
    /// See [`Arrival`].
    pub path: String,
    /// See [`Arrival`].
    pub event_id: Option<String>,
    /// See [`Arrival`].
    pub correlation_id: Option<String>,
    /// See [`Arrival`].
    pub source: Option<String>,
    /// See [`Arrival`].
    pub summary: Option<Summary>,
    /// See [`Arrival`].
    pub body: Bytes,
    /// When it came first.
    pub at: OffsetDateTime,
}

/// What became of an arrival.
#[derive(Debug)]
pub enum Filed {
    /// A new document.
    New(Record),
    /// The event was there already: its document.
    Again(Record),
}

/// The bound on documents or bytes is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Documents held.
    pub documents: u64,
    /// Deliveries of events that were there already.
    pub duplicates: u64,
    /// Documents that were refused.
    pub refused: u64,
    /// Bytes held.
    pub bytes: usize,
}

/// Everything the stand-in holds.
#[derive(Debug, Default)]
pub struct Cabinet(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    records: Vec<Record>,
    by_event: HashMap<String, usize>,
    numbers: HashMap<&'static str, u64>,
    stats: Stats,
}

impl Cabinet {
    /// Files a document, or finds the one that the same event made earlier.
    ///
    /// # Errors
    /// When nothing more may be held.
    pub fn file(&self, arrival: Arrival) -> Result<Filed, Full> {
        let contents = &mut *self.lock();
        let known = arrival.event_id.as_ref().and_then(|id| contents.by_event.get(id).copied());
        if let Some(record) = known.and_then(|position| contents.records.get_mut(position)) {
            record.deliveries += 1;
            contents.stats.duplicates += 1;
            return Ok(Filed::Again(record.clone()));
        }
        if contents.records.len() >= MAX_DOCUMENTS || contents.stats.bytes + arrival.body.len() > MAX_BYTES {
            return Err(Full);
        }
        let system = arrival.summary.as_ref().map(|summary| summary.system);
        let number = contents.numbers.entry(system.map_or("event", System::name)).or_default();
        *number += 1;
        let document = match system {
            Some(System::Sap) => number.to_string(),
            Some(System::ErpNext) => format!("SAL-ORD-{}-{number:05}", arrival.at.year()),
            None => format!("EVENT-{number}"),
        };
        let record = Record {
            sequence: contents.records.len() as u64 + 1,
            number: *number,
            document,
            deliveries: 1,
            path: arrival.path,
            event_id: arrival.event_id,
            correlation_id: arrival.correlation_id,
            source: arrival.source,
            summary: arrival.summary,
            body: arrival.body,
            at: arrival.at,
        };
        if let Some(id) = &record.event_id {
            contents.by_event.insert(id.clone(), contents.records.len());
        }
        contents.stats.documents += 1;
        contents.stats.bytes += record.body.len();
        contents.records.push(record.clone());
        Ok(Filed::New(record))
    }

    /// At most `limit` documents after the one with sequence number `after`, those that are `wanted`.
    pub fn list(&self, after: u64, limit: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        self.lock().records.iter().skip(from).filter(|record| wanted(record)).take(limit).cloned().collect()
    }

    /// How often each event came.
    pub fn deliveries(&self) -> BTreeMap<String, u64> {
        let contents = self.lock();
        let ids = contents.by_event.iter();
        ids.filter_map(|(id, position)| Some((id.clone(), contents.records.get(*position)?.deliveries))).collect()
    }

    /// Counts since the start, or since everything was forgotten.
    pub fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Counts a document that was refused.
    pub fn count_refused(&self) {
        self.lock().stats.refused += 1;
    }

    /// Forgets everything.
    pub fn forget(&self) {
        *self.lock() = Contents::default();
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serialize for Record {
    /// As `GET /_orders` shows it: amounts as text, the body as JSON where it is.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sequence", &self.sequence)?;
        map.serialize_entry("document", &self.document)?;
        map.serialize_entry("path", &self.path)?;
        if let Some(summary) = &self.summary {
            map.serialize_entry("system", summary.system.name())?;
            map.serialize_entry("customer", &summary.customer)?;
            map.serialize_entry("reference", &summary.reference)?;
            map.serialize_entry("currency", &summary.currency)?;
            map.serialize_entry("lines", &summary.lines)?;
            map.serialize_entry("total", &summary.total.to_string())?;
        }
        map.serialize_entry("event_id", &self.event_id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("deliveries", &self.deliveries)?;
        map.serialize_entry("correlation_id", &self.correlation_id)?;
        map.serialize_entry("received_at", &self.at.format(&Rfc3339).unwrap_or_default())?;
        let body = serde_json::from_slice::<Box<serde_json::value::RawValue>>(&self.body).ok();
        match body {
            Some(raw) => map.serialize_entry("body", &raw)?,
            None => map.serialize_entry("body", &String::from_utf8_lossy(&self.body))?,
        }
        map.end()
    }
}

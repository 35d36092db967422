//! What the tests of the mappings share: the fixtures of a folder and how they are compared. Part of each example's
//! tests by `#[path]`.
//!
//! `NAME.order.json` with `NAME.settings.json` (where there is one) becomes `NAME.document.json`, to the letter but for
//! white space. `malformed.json` lists what is wrong in an order and the JSON pointer of the refusal.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use sluis_plugin::config;

/// The folder `fixtures` of an example.
pub struct Fixtures(PathBuf);

/// An order, the settings of its tenant and the document that it becomes.
pub struct Order {
    pub name: String,
    pub id: String,
    pub order: String,
    pub settings: BTreeMap<String, String>,
    pub document: String,
}

/// An order that is refused.
#[derive(Deserialize)]
pub struct Malformed {
    pub why: String,
    /// The whole body; otherwise the order `of` with what is `set` at JSON pointers.
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    of: String,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    pub pointer: String,
}

impl Fixtures {
    pub fn of(manifest_dir: &str) -> Self {
        Self(PathBuf::from(manifest_dir).join("fixtures"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    pub fn order(&self, name: &str) -> String {
        self.read(&format!("{name}.order.json"))
    }

    /// All orders of the folder.
    pub fn orders(&self) -> Vec<Order> {
        let files = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = files.filter_map(|file| file.strip_suffix(".order.json").map(String::from));
        let order = |name: String| {
            let order = self.order(&name);
            let settings = fs::read_to_string(self.0.join(format!("{name}.settings.json")));
            Order {
                id: serde_json::from_str::<Value>(&order).unwrap()["id"].to_string(),
                settings: settings.map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default(),
                document: compacted(&self.read(&format!("{name}.document.json"))),
                order,
                name,
            }
        };
        names.map(order).collect()
    }

    /// Why, the body, and the pointer of each malformed order.
    pub fn malformed(&self) -> Vec<(Malformed, String)> {
        let cases: Vec<Malformed> = serde_json::from_str(&self.read("malformed.json")).unwrap();
        let body = |case: &Malformed| {
            case.text.clone().unwrap_or_else(|| {
                let mut order: Value = serde_json::from_str(&self.order(&case.of)).unwrap();
                for (pointer, value) in &case.set {
                    *order.pointer_mut(pointer).unwrap() = value.clone();
                }
                order.to_string()
            })
        };
        cases
            .into_iter()
            .map(|case| {
                let body = body(&case);
                (case, body)
            })
            .collect()
    }
}

/// `order` with something broken at every few bytes, and cut off there.
pub fn damaged(order: &str) -> impl Iterator<Item = Vec<u8>> + '_ {
    let with = |at: usize, byte: u8| {
        let mut bytes = order.as_bytes().to_vec();
        bytes[at] = byte;
        bytes
    };
    let bytes = [b'"', b'0', b'-', b'}', b'[', b'\\', 0, 0xff];
    (0..order.len()).step_by(7).enumerate().flat_map(move |(n, at)| {
        [with(at, bytes[n % 8]), with(at, bytes[(n + 3) % 8]), order.as_bytes()[..at].to_vec()]
    })
}

/// Gives the plugin these settings and no others.
pub fn configure(settings: &BTreeMap<String, String>) {
    config::clear();
    for (key, value) in settings {
        config::set(key, value);
    }
}

/// `text` without white space between its tokens: what stands in it is compared to the letter.
fn compacted(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let mut keep = |c: &char| {
        let quote = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        inside ^= quote;
        inside || !c.is_ascii_whitespace()
    };
    text.chars().filter(|c| keep(c)).collect()
}

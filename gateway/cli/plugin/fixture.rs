//! Fixtures: a request or an answer, what stands behind the capabilities, and what the plugin must say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::PluginError;
use super::project::read_yaml;

/// One file of `fixtures/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Goes to `on-request`. One of this and `answer` is there.
    #[serde(default)]
    pub request: Option<RequestPart>,
    /// Goes to `on-response`.
    #[serde(default)]
    pub answer: Option<AnswerPart>,
    /// What `config` answers.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// What `kv` holds before the call.
    #[serde(default)]
    pub kv: BTreeMap<String, String>,
    /// What other systems answer, in the order in which they are asked.
    #[serde(default)]
    pub http: Vec<Exchange>,
    /// What the plugin must say.
    pub expect: Expect,
    /// What the call may use at most, below the gateway's own limits.
    #[serde(default)]
    pub limits: Ceilings,
}

/// A request as the gateway would tell it.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub struct RequestPart {
    pub method: String,
    pub path: String,
    pub query: String,
    pub route: String,
    pub parameters: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub tenant: String,
    pub subject: String,
    pub claims: Value,
    pub correlation_id: String,
    pub body: Option<Content>,
}

impl Default for RequestPart {
    fn default() -> Self {
        RequestPart {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            route: "test".to_owned(),
            parameters: BTreeMap::new(),
            headers: BTreeMap::new(),
            tenant: "test".to_owned(),
            subject: "tester".to_owned(),
            claims: Value::Object(serde_json::Map::new()),
            correlation_id: "fixture".to_owned(),
            body: None,
        }
    }
}

/// An upstream's answer.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub struct AnswerPart {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Option<Content>,
    pub route: String,
    pub tenant: String,
}

impl Default for AnswerPart {
    fn default() -> Self {
        let RequestPart { route, tenant, .. } = RequestPart::default();
        AnswerPart { status: 200, headers: BTreeMap::new(), body: None, route, tenant }
    }
}

/// A body.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// As it stands.
    Text(String),
    /// Written as JSON; compared by value.
    Json(Value),
    /// The bytes of a file, beside the fixture.
    File(PathBuf),
}

/// A request that the plugin sends, and what comes back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// GET where absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Exactly this.
    pub url: String,
    /// 200 where absent.
    #[serde(default)]
    pub status: Option<u16>,
    /// Of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Of the answer.
    #[serde(default)]
    pub body: Option<Content>,
    /// In the place of an answer: `not-allowed`, `malformed`, `too-large`, `timeout` or `connection`.
    #[serde(default)]
    pub fault: Option<String>,
}

/// What the plugin must say; only what is named is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub enum Expect {
    Forward(ForwardPart),
    Enqueue(EnqueuePart),
    Respond(RespondPart),
    Refuse(RefusePart),
    /// Of `on-response`.
    Change(RespondPart),
    /// It must not say anything: `trap`, `cpu`, `wall`, `memory` or `host_calls`.
    Fault(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub struct ForwardPart {
    pub upstream: Option<String>,
    pub path: Option<String>,
    pub set_headers: BTreeMap<String, String>,
    pub remove_headers: Vec<String>,
    pub body: Option<Content>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub struct EnqueuePart {
    pub event_type: Option<String>,
    pub key: Option<String>,
    pub content_type: Option<String>,
    pub sinks: Option<Vec<String>>,
    pub body: Option<Content>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub struct RespondPart {
    pub status: Option<u16>,
    pub set_headers: BTreeMap<String, String>,
    pub remove_headers: Vec<String>,
    pub body: Option<Content>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the contract in `wit/types.wit` says it all")]
pub struct RefusePart {
    pub status: Option<u16>,
    pub kind: Option<String>,
    pub title: Option<String>,
    pub detail: Option<String>,
    pub pointer: Option<String>,
}

/// What a call may use at most.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ceilings {
    /// Time on the CPU, microseconds.
    pub cpu_us: Option<u64>,
    /// Linear memory, KiB.
    pub memory_kib: Option<usize>,
    /// Host calls.
    pub host_calls: Option<u32>,
}

/// What the plugin is told.
#[derive(Debug)]
pub enum Input {
    /// By `on-request`.
    Request(RequestPart),
    /// By `on-response`.
    Answer(AnswerPart),
}

/// A fixture and what it is called.
#[derive(Debug)]
pub struct Named {
    /// The file's name without its extension.
    pub name: String,
    /// What its plugin is told.
    pub input: Input,
    /// The rest of what it says; what it names as files is read.
    pub fixture: Fixture,
}

/// The fixtures in a folder, by name; only those whose name contains one of `filter`, where there is one.
pub fn read(dir: &Path, filter: &[String]) -> Result<Vec<Named>, PluginError> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(PluginError::io(dir))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"))
        .collect();
    paths.sort();
    let mut fixtures = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !filter.is_empty() && !filter.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let mut fixture: Fixture = read_yaml(&path)?;
        for content in fixture.contents() {
            content.read(dir)?;
        }
        let input = match (fixture.request.take(), fixture.answer.take()) {
            (Some(request), None) => Input::Request(request),
            (None, Some(answer)) => Input::Answer(answer),
            _ => {
                let reason = "one of `request` and `answer` belongs here".to_owned();
                return Err(PluginError::Project { path, reason });
            }
        };
        fixtures.push(Named { name, input, fixture });
    }
    Ok(fixtures)
}

impl Fixture {
    fn contents(&mut self) -> impl Iterator<Item = &mut Content> {
        let expected = match &mut self.expect {
            Expect::Forward(part) => part.body.as_mut(),
            Expect::Enqueue(part) => part.body.as_mut(),
            Expect::Respond(part) | Expect::Change(part) => part.body.as_mut(),
            Expect::Refuse(_) | Expect::Fault(_) => None,
        };
        let request = self.request.as_mut().and_then(|request| request.body.as_mut());
        let answer = self.answer.as_mut().and_then(|answer| answer.body.as_mut());
        let answers = self.http.iter_mut().filter_map(|exchange| exchange.body.as_mut());
        [expected, request, answer].into_iter().flatten().chain(answers)
    }
}

impl Content {
    /// Puts a file's text in the place of its name; a file that is JSON is compared as such.
    fn read(&mut self, dir: &Path) -> Result<(), PluginError> {
        let Content::File(name) = self else { return Ok(()) };
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).map_err(PluginError::io(&path))?;
        *self = match path.extension().is_some_and(|extension| extension == "json") {
            true => serde_json::from_str(&text).map_or(Content::Text(text), Content::Json),
            false => Content::Text(text),
        };
        Ok(())
    }

    /// The bytes of a body that is sent.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Content::Text(text) => text.clone().into_bytes(),
            Content::Json(value) => value.to_string().into_bytes(),
            Content::File(_) => Vec::new(),
        }
    }
}

//! Pass lines of a scenario: what has to hold of the whole, of a part of it, or of one part against another.

use std::time::Duration;

use serde::Deserialize;

use super::written::Clock;
use crate::slo::Slo;
use crate::workload::{Invalid, text};

/// A pass line as it is written: one of `slo`, `compare`, `arrival`, `drained`, `erp_at_once` and `slow_clients`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPass {
    /// Service levels, of the whole or of a part.
    slo: Option<String>,
    /// A percentile of a part, held against the same of another part.
    compare: Option<String>,
    /// A percentile of the time from acceptance to arrival at the sink.
    arrival: Option<String>,
    /// Everything has arrived so long after the load's end.
    drained: Option<String>,
    /// The ERP worked on no more orders at once.
    erp_at_once: Option<usize>,
    /// So many slow clients were told to go, and none was held for longer than `at_most`.
    slow_clients: Option<u64>,
    /// Whose requests: a tenant's name; all without it.
    of: Option<String>,
    /// From when to when; the whole without it.
    between: Option<[String; 2]>,
    /// The other part of `compare`.
    with: Option<[String; 2]>,
    /// `2s`; for `compare`, `1.5x + 5ms`.
    at_most: Option<String>,
}

/// A checked pass line.
#[derive(Debug)]
pub(super) struct Pass {
    pub kind: Kind,
    /// Whose and when, as it is shown before the line.
    pub place: String,
}

/// See [`WrittenPass`].
#[derive(Debug)]
pub(super) enum Kind {
    Slo(Slo, Option<Part>),
    Compare { percentile: Percentile, of: Option<String>, part: Part, with: Part, factor: f64, more: Duration },
    Arrival { percentile: Percentile, of: Option<String>, part: Option<Part>, at_most: Duration },
    Drained(Duration),
    ErpAtOnce(usize),
    SlowClients { count: u64, at_most: Duration },
}

/// Whole seconds from the first moment: from, and up to without.
pub(super) type Part = (usize, usize);

/// A percentile, with its name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Percentile {
    pub name: String,
    /// 0 to 1.
    pub share: f64,
}

impl WrittenPass {
    pub fn check(self, at: &str, clock: Clock, tenants: &[String]) -> Result<Pass, Invalid> {
        if let Some(of) = self.of.as_ref().filter(|of| !tenants.contains(of)) {
            return Err(Invalid::new(format!("{at}.of"), format!("no load has a tenant `{of}`")));
        }
        let (slo, compare, arrival) = (self.slo.as_deref(), self.compare.as_deref(), self.arrival.as_deref());
        let kind = match (slo, compare, arrival, self.drained.as_deref(), self.erp_at_once, self.slow_clients) {
            (Some(text), None, None, None, None, None) => self.levels(at, clock, tenants, text)?,
            (None, Some(name), None, None, None, None) => self.comparison(at, clock, name)?,
            (None, None, Some(name), None, None, None) => self.waits(at, clock, name)?,
            (None, None, None, Some(within), None, None) => {
                self.only(at, &[])?;
                Kind::Drained(text::duration(&format!("{at}.drained"), within)?)
            }
            (None, None, None, None, Some(most), None) => {
                self.only(at, &[])?;
                Kind::ErpAtOnce(most)
            }
            (None, None, None, None, None, Some(count)) => {
                self.only(at, &["at_most"])?;
                Kind::SlowClients { count, at_most: self.at_most(at)? }
            }
            _ => {
                let what = "one of slo, compare, arrival, drained, erp_at_once and slow_clients is wanted";
                return Err(Invalid::new(at, what));
            }
        };
        Ok(Pass { kind, place: self.place() })
    }

    fn levels(&self, at: &str, clock: Clock, tenants: &[String], text: &str) -> Result<Kind, Invalid> {
        self.only(at, &["between"])?;
        let refuse = |what: String| Invalid::new(format!("{at}.slo"), what);
        let slo = Slo::parse(text).map_err(|error| refuse(error.to_string()))?;
        if let Some(unknown) = slo.unknown_tenant(tenants) {
            return Err(refuse(format!("no load has a tenant `{unknown}`")));
        }
        if self.between.is_some() && slo.asks_the_sink() {
            return Err(Invalid::new(format!("{at}.between"), "what arrived is counted for the whole only"));
        }
        Ok(Kind::Slo(slo, part(&format!("{at}.between"), clock, self.between.as_ref())?))
    }

    fn comparison(&self, at: &str, clock: Clock, name: &str) -> Result<Kind, Invalid> {
        self.only(at, &["of", "between", "with", "at_most"])?;
        let needs = |name: &str| Invalid::new(at, format!("needs `{name}`"));
        let (factor, more) = bound(&format!("{at}.at_most"), self.at_most.as_deref().ok_or(needs("at_most"))?)?;
        Ok(Kind::Compare {
            percentile: Percentile::parse(&format!("{at}.compare"), name)?,
            of: self.of.clone(),
            part: part(&format!("{at}.between"), clock, self.between.as_ref())?.ok_or(needs("between"))?,
            with: part(&format!("{at}.with"), clock, self.with.as_ref())?.ok_or(needs("with"))?,
            factor,
            more,
        })
    }

    fn waits(&self, at: &str, clock: Clock, name: &str) -> Result<Kind, Invalid> {
        self.only(at, &["of", "between", "at_most"])?;
        Ok(Kind::Arrival {
            percentile: Percentile::parse(&format!("{at}.arrival"), name)?,
            of: self.of.clone(),
            part: part(&format!("{at}.between"), clock, self.between.as_ref())?,
            at_most: self.at_most(at)?,
        })
    }

    /// As a time.
    fn at_most(&self, at: &str) -> Result<Duration, Invalid> {
        let at_most = self.at_most.as_deref().ok_or_else(|| Invalid::new(at, "needs `at_most`"))?;
        text::duration(&format!("{at}.at_most"), at_most)
    }

    /// Refuses what a line of this kind has no use for.
    fn only(&self, at: &str, used: &[&str]) -> Result<(), Invalid> {
        let there = [
            ("of", self.of.is_some()),
            ("between", self.between.is_some()),
            ("with", self.with.is_some()),
            ("at_most", self.at_most.is_some()),
        ];
        match there.iter().find(|(name, there)| *there && !used.contains(name)) {
            Some((name, _)) => Err(Invalid::new(format!("{at}.{name}"), "has no use in a line of this kind")),
            None => Ok(()),
        }
    }

    fn place(&self) -> String {
        let span = |[from, to]: &[String; 2]| format!("{from} to {to}");
        let of = self.of.clone().into_iter().chain(self.between.as_ref().map(span));
        of.collect::<Vec<_>>().join(", ")
    }
}

fn part(at: &str, clock: Clock, written: Option<&[String; 2]>) -> Result<Option<Part>, Invalid> {
    let Some([from, to]) = written else { return Ok(None) };
    let second = |text: &str| Ok::<usize, Invalid>(clock.time(at, text)?.as_secs_f64().round() as usize);
    let (from, to) = (second(from)?, second(to)?);
    if from >= to {
        return Err(Invalid::new(at, "must be a whole second long at least, after scaling"));
    }
    Ok(Some((from, to)))
}

/// `1.5x + 5ms`: so many times the other, and so much more.
fn bound(at: &str, text: &str) -> Result<(f64, Duration), Invalid> {
    let (factor, more) = match text.split_once('+') {
        Some((factor, more)) => (factor, text::duration(at, more)?),
        None => (text, Duration::ZERO),
    };
    let factor = factor.trim().strip_suffix('x').and_then(|factor| factor.parse().ok());
    let factor = factor.filter(|factor: &f64| (0.0..=1e6).contains(factor));
    factor.map(|factor| (factor, more)).ok_or_else(|| Invalid::new(at, format!("`{text}`: write 1.5x, or 1.5x + 5ms")))
}

impl Percentile {
    fn parse(at: &str, name: &str) -> Result<Percentile, Invalid> {
        let share = match name {
            "max" => Some(1.0),
            name => name.strip_prefix('p').and_then(|number| number.parse::<f64>().ok()).map(|percent| percent / 100.0),
        };
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        let what = || Invalid::new(at, format!("`{name}` is no percentile; write p50, p99.9 or max"));
        Ok(Percentile { name: name.to_owned(), share: share.ok_or_else(what)? })
    }
}

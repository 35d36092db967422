//! Issuers, upstreams, sinks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::super::tree::{Step, at};
use super::super::written::{self, Written};
use super::Check;
use crate::breaker::BreakerSettings;
use crate::pacing::PacingSettings;
use crate::plan;
use crate::retry::RetrySettings;

/// Retries per second that every sink has: a share of little traffic would let none through.
const RETRY_FLOOR: u32 = 10;

impl Check<'_> {
    pub(super) fn issuers(&mut self, written: &Written) -> Vec<Arc<plan::Issuer>> {
        self.at_most(&at!["issuers"], &written.issuers, 64);
        self.unique("issuers", "name", written.issuers.iter().map(|i| &*i.name));
        self.unique("issuers", "issuer", written.issuers.iter().map(|i| &*i.issuer));
        written.issuers.iter().enumerate().map(|(i, issuer)| Arc::new(self.issuer(i, issuer))).collect()
    }

    fn issuer(&mut self, i: usize, written: &written::Issuer) -> plan::Issuer {
        self.some(&at!["issuers", i, "audiences"], &written.audiences, "audience");
        self.some(&at!["issuers", i, "algorithms"], &written.algorithms, "algorithm");
        if written.types.is_empty() && !written.allow_missing_type {
            self.error(&at!["issuers", i, "types"], "at least one type belongs here, or no token passes");
        }
        for list in [("audiences", &written.audiences), ("types", &written.types)] {
            self.at_most(&at!["issuers", i, list.0], list.1, 100);
        }
        let path = at!["issuers", i, "jwks", "url"];
        if let Some(uri) = self.url(&path, &written.jwks.url)
            && uri.scheme() == Some(&Scheme::HTTP)
            && !written.jwks.allow_insecure
        {
            let message = "whoever can change these keys on their way can make tokens: `https` belongs here";
            let help = "or `allow_insecure: true`, in a network that is safe".to_owned();
            self.error_with(&path, message, Some(help));
        }
        plan::Issuer {
            name: written.name.arc(),
            issuer: written.issuer.arc(),
            audiences: written.audiences.iter().map(|a| a.to_string()).collect(),
            algorithms: written.algorithms.clone(),
            types: written.types.iter().map(|t| media_subtype(t)).collect(),
            allow_missing_type: written.allow_missing_type,
            tenant_claim: written.tenant_claim.arc(),
            leeway: written.leeway.get(),
            max_lifetime: written.max_lifetime.get(),
            jwks: plan::Jwks {
                url: written.jwks.url.clone(),
                allow_insecure: written.jwks.allow_insecure,
                refresh: written.jwks.refresh.get(),
                cooldown: written.jwks.cooldown.get(),
                stale_if_error: written.jwks.stale_if_error.get(),
                timeout: written.jwks.timeout.get(),
                max_bytes: written.jwks.max_bytes.usize(),
                max_keys: written.jwks.max_keys.usize(),
                ca: written.jwks.ca.as_ref().map(|ca| ca.get()),
            },
        }
    }

    pub(super) fn upstreams(&mut self, written: &Written) -> HashMap<Arc<str>, Arc<plan::Upstream>> {
        self.at_most(&at!["upstreams"], &written.upstreams, 10_000);
        self.unique("upstreams", "name", written.upstreams.iter().map(|u| &*u.name));
        let upstreams = written.upstreams.iter().enumerate();
        upstreams.map(|(i, upstream)| (upstream.name.arc(), Arc::new(self.upstream(i, upstream)))).collect()
    }

    fn upstream(&mut self, i: usize, written: &written::Upstream) -> plan::Upstream {
        let total = written.total_timeout.get();
        self.ordered(&at!["upstreams", i, "connect_timeout"], written.connect_timeout.get(), total, "total_timeout");
        self.ordered(
            &at!["upstreams", i, "first_byte_timeout"],
            written.first_byte_timeout.get(),
            total,
            "total_timeout",
        );
        if let Some(name) = &written.tls.server_name
            && !is_host(name)
        {
            self.error(&at!["upstreams", i, "tls", "server_name"], "a host name or IP address belongs here");
        }
        plan::Upstream {
            name: written.name.arc(),
            endpoints: self.endpoints(i, &written.endpoints),
            protocol: match written.protocol {
                written::UpstreamProtocol::Http1 => plan::UpstreamProtocol::Http1,
                written::UpstreamProtocol::Http2 => plan::UpstreamProtocol::Http2,
            },
            tls: plan::UpstreamTls {
                ca: written.tls.ca.as_ref().map(|ca| ca.get()),
                server_name: written.tls.server_name.clone(),
            },
            headers: self.headers(&at!["upstreams", i, "headers"], &written.headers),
            connect_timeout: written.connect_timeout.get(),
            first_byte_timeout: written.first_byte_timeout.get(),
            total_timeout: total,
            idle_timeout: written.idle_timeout.get(),
            pool_idle_timeout: written.pool_idle_timeout.get(),
            pool_size: written.pool_size.usize(),
            retries: written.retries.u32(),
            retry_budget_percent: written.retry_budget_percent.u32(),
            in_flight: written.in_flight.usize(),
            response_head_bytes: written.response_head_bytes.usize(),
            breaker: self.breaker("upstreams", i, &written.breaker),
            maintenance: self.maintenance("upstreams", i, &written.maintenance),
        }
    }

    /// That of an item of `list`.
    fn breaker(&mut self, list: &str, i: usize, written: &written::Breaker) -> BreakerSettings {
        let (open, max_open) = (written.open.get(), written.max_open.get());
        self.ordered(&at![list, i, "breaker", "open"], open, max_open, "max_open");
        BreakerSettings {
            consecutive_failures: written.consecutive_failures.u32(),
            failure_percent: written.failure_percent.u32(),
            minimum_outcomes: written.minimum_outcomes.u32(),
            window: written.window.get(),
            open,
            max_open,
        }
    }

    fn endpoints(&mut self, i: usize, written: &[String]) -> Vec<plan::Endpoint> {
        self.some(&at!["upstreams", i, "endpoints"], written, "endpoint");
        self.at_most(&at!["upstreams", i, "endpoints"], written, 256);
        let mut endpoints = Vec::with_capacity(written.len());
        for (j, text) in written.iter().enumerate() {
            let path = at!["upstreams", i, "endpoints", j];
            let Some(uri) = self.url(&path, text) else { continue };
            if uri.query().is_some() {
                self.error(&path, "an endpoint has no query");
                continue;
            }
            let tls = uri.scheme() == Some(&Scheme::HTTPS);
            let endpoint = plan::Endpoint {
                host: uri.host().unwrap_or_default().to_ascii_lowercase(),
                port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
                tls,
                base_path: uri.path().trim_end_matches('/').to_owned(),
            };
            match endpoints.contains(&endpoint) {
                true => self.error(&path, "this endpoint is there already"),
                false => endpoints.push(endpoint),
            }
        }
        endpoints
    }

    pub(super) fn sinks(&mut self, written: &Written) -> HashMap<Arc<str>, Arc<plan::Sink>> {
        self.at_most(&at!["sinks"], &written.sinks, 10_000);
        self.unique("sinks", "name", written.sinks.iter().map(|s| &*s.name));
        let sinks = written.sinks.iter().enumerate();
        sinks.map(|(i, sink)| (sink.name.arc(), Arc::new(self.sink(i, sink)))).collect()
    }

    fn sink(&mut self, i: usize, written: &written::Sink) -> plan::Sink {
        let (http, retry) = (&written.http, &written.retry);
        self.url(&at!["sinks", i, "http", "url"], &http.url);
        self.ordered(&at!["sinks", i, "retry", "initial"], retry.initial.get(), retry.max.get(), "max");
        plan::Sink {
            name: written.name.arc(),
            kind: plan::SinkKind::Http(plan::HttpSink {
                url: http.url.clone(),
                method: self.method(&at!["sinks", i, "http", "method"], &http.method).unwrap_or_default(),
                timeout: http.timeout.get(),
                headers: self.headers(&at!["sinks", i, "http", "headers"], &http.headers),
                ca: http.ca.as_ref().map(|ca| ca.get()),
                format: match http.format {
                    written::EventFormat::Binary => plan::EventFormat::Binary,
                    written::EventFormat::Structured => plan::EventFormat::Structured,
                },
            }),
            plugin: written.plugin.as_ref().map(|slot| slot.arc()),
            retry: RetrySettings {
                initial: retry.initial.get(),
                factor: retry.factor.get(),
                max: retry.max.get(),
                max_age: retry.max_age.get(),
                max_attempts: retry.max_attempts.u32(),
            },
            concurrency: written.concurrency.usize(),
            order: match written.order {
                written::Order::None => plan::Order::None,
                written::Order::Block => plan::Order::Block,
                written::Order::DlqAndContinue => plan::Order::DlqAndContinue,
                written::Order::ParkKey => plan::Order::ParkKey,
            },
            compact_by_key: written.compact_by_key,
            pacing: PacingSettings {
                rate: written.rate.map(|rate| rate.u32()),
                retry_percent: written.retry_budget_percent.u32(),
                retry_floor_per_second: RETRY_FLOOR,
                slow_start: written.slow_start.get(),
            },
            breaker: self.breaker("sinks", i, &written.breaker),
            maintenance: self.maintenance("sinks", i, &written.maintenance),
        }
    }

    fn ordered(&mut self, path: &[Step], smaller: Duration, larger: Duration, than: &str) {
        if smaller > larger {
            self.error(path, format!("must not be more than `{than}`"));
        }
    }

    /// An absolute `http` or `https` URL without credentials and fragment.
    pub(super) fn url(&mut self, path: &[Step], text: &str) -> Option<Uri> {
        let uri = text.parse::<Uri>().ok().filter(|uri| {
            let known = uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
            // What follows the host must be a port: `http` is silent about one that is none.
            let host = uri.host().filter(|host| is_host(host));
            let rest =
                uri.authority().zip(host).and_then(|(a, host)| a.as_str().split_once(host)).map(|(_, rest)| rest);
            let port = rest == Some("") || uri.port_u16().is_some_and(|port| port != 0);
            known && port && text.len() <= 2048
        });
        match uri {
            None => self.error(path, "an `http` or `https` URL with a host belongs here"),
            Some(ref uri) if uri.authority().is_some_and(|a| a.as_str().contains('@')) => {
                self.error(path, "a URL is shown in logs: credentials belong into `headers`");
                return None;
            }
            Some(_) if text.contains('#') => {
                self.error(path, "a URL has no fragment here");
                return None;
            }
            Some(_) => {}
        }
        uri
    }
}

/// `typ` as it is compared: lower case, without `application/` (RFC 7515 §4.1.9).
fn media_subtype(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    lower.strip_prefix("application/").unwrap_or(&lower).to_owned()
}

/// A host name (RFC 1123 §2.1) or an IP address, v6 in brackets or not.
pub(super) fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    bare.parse::<std::net::IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

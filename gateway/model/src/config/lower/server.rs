//! Listeners, admin, process, plugins, ledger.

use std::net::SocketAddr;

use super::super::tree::at;
use super::super::written::{self, Written};
use super::Check;
use super::routes::issuers;
use crate::plan;
use crate::shedding::Shedding;

pub(super) fn server(written: &written::Server) -> plan::Server {
    let limits = &written.limits;
    let state_dir = written.state_dir.get();
    plan::Server {
        threads: written.threads.usize(),
        upgrade_socket: written.upgrade_socket.as_ref().map_or_else(|| state_dir.join("upgrade.sock"), |p| p.get()),
        state_dir,
        drain: written.drain.get(),
        access_log: written.access_log,
        limits: plan::ServerLimits {
            connections: limits.connections.usize(),
            connections_per_address: limits.connections_per_address.usize(),
            in_flight: limits.in_flight.usize(),
            head_bytes: limits.head_bytes.usize(),
            target_bytes: limits.target_bytes.usize(),
            fields: limits.fields.usize(),
            head_timeout: limits.head_timeout.get(),
            idle_timeout: limits.idle_timeout.get(),
            body_timeout: limits.body_timeout.get(),
            write_timeout: limits.write_timeout.get(),
            requests_per_connection: limits.requests_per_connection.u32(),
        },
    }
}

impl Check<'_> {
    pub(super) fn ledger(&mut self, written: &written::Ledger) -> plan::Ledger {
        if written.shed_low.u32() > written.shed_normal.u32() {
            self.error(
                &at!["ledger", "shed_low"],
                "must not be more than `shed_normal`: what is urgent goes on longer",
            );
        }
        let percent = |percent: u32| u8::try_from(percent).unwrap_or(100);
        plan::Ledger {
            max_bytes: written.max_bytes.u64(),
            retention: written.retention.get(),
            dead_retention: written.dead_retention.get(),
            max_batch: written.max_batch.usize(),
            shedding: Shedding { low: percent(written.shed_low.u32()), normal: percent(written.shed_normal.u32()) },
        }
    }

    pub(super) fn listeners(&mut self, written: &Written) -> Vec<plan::Listener> {
        self.some(&at!["listeners"], &written.listeners, "listener");
        self.at_most(&at!["listeners"], &written.listeners, 64);
        self.unique("listeners", "name", written.listeners.iter().map(|l| &*l.name));
        self.addresses(written);
        if written.server.limits.target_bytes.usize() >= written.server.limits.head_bytes.usize() {
            self.error(
                &at!["server", "limits", "target_bytes"],
                "must be less than `head_bytes`, which it is a part of",
            );
        }
        for (i, listener) in written.listeners.iter().enumerate() {
            if let Some(tls) = &listener.tls {
                self.some(&at!["listeners", i, "tls", "certificates"], &tls.certificates, "certificate");
                self.at_most(&at!["listeners", i, "tls", "certificates"], &tls.certificates, 10_000);
            }
        }
        written.listeners.iter().map(listener).collect()
    }

    /// No two sockets may want one address, and no customer may reach the operators' one.
    fn addresses(&mut self, written: &Written) {
        let admin = written.admin.address.0;
        for (i, listener) in written.listeners.iter().enumerate() {
            let address = listener.address.0;
            if overlap(address, admin) {
                self.error(&at!["listeners", i, "address"], "this is the address of `admin`");
            }
            if let Some(other) = written.listeners[..i].iter().find(|other| overlap(other.address.0, address)) {
                let message = format!("the listener {} has this address already", self.places.quoted(&other.name));
                self.error(&at!["listeners", i, "address"], message);
            }
        }
        if !admin.ip().is_loopback() {
            self.warn(&at!["admin", "address"], "operators' functions can be reached from other machines, by anyone");
        }
    }

    pub(super) fn admin(&mut self, written: &Written) -> plan::Admin {
        let auth = written.admin.auth.as_ref().map(|auth| {
            let path = at!["admin", "auth", "issuers"];
            self.some(&path, &auth.issuers, "issuer");
            let tenants = [("deploy_scope", &auth.deploy_scope), ("events_scope", &auth.events_scope)];
            for (name, _) in tenants.iter().filter(|(_, scope)| **scope == auth.operate_scope) {
                let message = format!("this is `{name}` too: every tenant's token would be an operator's");
                self.error(&at!["admin", "auth", "operate_scope"], message);
            }
            plan::AdminAuth {
                issuers: self.references(&path, "issuer", &auth.issuers, &issuers(written)),
                deploy_scope: auth.deploy_scope.arc(),
                events_scope: auth.events_scope.arc(),
                operate_scope: auth.operate_scope.arc(),
            }
        });
        plan::Admin { address: written.admin.address.0, auth }
    }

    pub(super) fn plugins(&mut self, written: &written::Plugins) -> plan::Plugins {
        if written.cpu.get() > written.wall.get() {
            self.error(&at!["plugins", "cpu"], "must not be more than `wall`, which includes it");
        }
        plan::Plugins {
            dir: written.dir.get(),
            component_bytes: written.component_bytes.usize(),
            compile_timeout: written.compile_timeout.get(),
            compile_memory: written.compile_memory.u64(),
            instances: written.instances.u32(),
            call: call_limits(written),
            frozen: written.frozen.as_ref().map(|reason| reason.arc()),
        }
    }
}

pub(super) fn call_limits(written: &written::Plugins) -> plan::CallLimits {
    plan::CallLimits {
        cpu: written.cpu.get(),
        wall: written.wall.get(),
        memory: written.memory.usize(),
        host_calls: written.host_calls.u32(),
        http_requests: written.http_requests.u32(),
        log_lines: written.log_lines.u32(),
        log_line_bytes: written.log_line_bytes.usize(),
    }
}

fn listener(written: &written::Listener) -> plan::Listener {
    plan::Listener {
        name: written.name.arc(),
        address: written.address.0,
        tls: written.tls.as_ref().map(|tls| plan::Tls {
            certificates: tls
                .certificates
                .iter()
                .map(|c| plan::CertificateFiles { certificate: c.certificate.get(), key: c.key.get() })
                .collect(),
            h2: tls.h2,
            strict_sni: tls.strict_sni,
        }),
    }
}

/// Whether one socket would take what is meant for the other. Port 0 is a different port every time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = |address: SocketAddr| address.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || any(a) || any(b))
}

//! pingora's own proxy with nothing added: the measure of what `peers/plain.yaml` may cost.
//!
//! One worker, any path to one upstream over kept connections. Listens until it is killed.

use std::net::SocketAddr;

use async_trait::async_trait;
use clap::Parser;
use pingora::prelude::{HttpPeer, ProxyHttp, Server, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

/// pingora's own proxy with nothing added
#[derive(Parser)]
struct Args {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:18080")]
    listen: SocketAddr,
    /// Where everything goes
    #[arg(long, default_value = "127.0.0.1:19000")]
    upstream: SocketAddr,
}

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _cx: &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn main() {
    let args = Args::parse();
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads: 1, ..ServerConf::default() });
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Bare(args.upstream));
    proxy.add_tcp(&args.listen.to_string());
    server.add_service(proxy);
    server.run_forever();
}

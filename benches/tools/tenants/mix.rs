//! What a request costs the gateway by who asks in which order: caches and the pool's slots are warm for one tenant, and
//! cold for a thousand in turn.

use std::sync::Arc;

use sluis_bench::Error;
use sluis_bench::client::{Client, order};
use sluis_bench::gateway::Gateway;
use sluis_bench::issuer::Issuer;
use tokio::task::JoinSet;

use super::tenant;

/// Requests of one measurement.
const REQUESTS: usize = 24_000;
/// Connections, in a closed loop.
const CONNECTIONS: usize = 32;
/// Each mix is measured so often, in turns.
const ROUNDS: usize = 5;
/// How they are called, in the order in which they are measured.
const NAMES: [&str; 4] = ["without a plugin", "one tenant", "Zipf over all (s = 1)", "all in strict rotation"];

/// Microseconds of CPU a request, by mix and round.
pub struct Mixes([Vec<f64>; 4]);

/// Measures all mixes, in turns.
pub async fn measure(gateway: &Gateway, issuer: &Issuer, count: usize) -> Result<Mixes, Error> {
    let tokens: Result<Vec<String>, Error> = (0..count).map(|n| issuer.token(&tenant(n), "user-1")).collect();
    let tokens = Arc::new(tokens?);
    let zipf = zipf(count);
    let orders: [Arc<Vec<usize>>; 4] = [
        Arc::new(vec![0; REQUESTS]),
        Arc::new(vec![0; REQUESTS]),
        Arc::new(zipf),
        Arc::new((0..REQUESTS).map(|n| n % count).collect()),
    ];
    let mut mixes = Mixes(Default::default());
    for _ in 0..ROUNDS {
        for (mix, order) in orders.iter().enumerate() {
            let before = gateway.cpu()?;
            send(gateway, &tokens, order, mix == 0).await?;
            let took = gateway.cpu()? - before;
            mixes.0[mix].push(took.as_secs_f64() * 1e6 / REQUESTS as f64);
        }
    }
    Ok(mixes)
}

async fn send(
    gateway: &Gateway,
    tokens: &Arc<Vec<String>>,
    order_of: &Arc<Vec<usize>>,
    plain: bool,
) -> Result<(), Error> {
    let client = Arc::new(Client::new(gateway.http));
    let mut connections = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (client, tokens, order_of) = (client.clone(), tokens.clone(), order_of.clone());
        connections.spawn(async move {
            for tenant in order_of.iter().skip(connection).step_by(CONNECTIONS) {
                let mut request = order(&tokens[*tenant], None)?;
                if plain {
                    *request.uri_mut() = "/v1/plain".parse()?;
                }
                let answer = client.send(request).await?;
                if answer.status() != http::StatusCode::OK {
                    return Err(format!("the gateway answers {}", answer.status()).into());
                }
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    Ok(())
}

/// Who asks: tenant n as often as 1 / (n + 1), drawn by numbers that repeat from run to run.
fn zipf(count: usize) -> Vec<usize> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (0..count)
        .map(|n| {
            sum += 1.0 / (n + 1) as f64;
            sum
        })
        .collect();
    let mut state = 0x5_1015_u64;
    let draw = |_| {
        // Knuth's MMIX constants.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let point = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        cumulative.partition_point(|upto| *upto < point).min(count - 1)
    };
    (0..REQUESTS).map(draw).collect()
}

impl Mixes {
    /// Median, least and most of each, and what it is over the first.
    pub fn print(&self) {
        println!("\n{:<28} {:>9} {:>9} {:>9} {:>9}", "CPU µs a request", "median", "least", "most", "more");
        let mut plain = 0.0;
        for (name, rounds) in NAMES.iter().zip(&self.0) {
            let mut sorted = rounds.clone();
            sorted.sort_by(f64::total_cmp);
            let (least, median, most) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
            if plain == 0.0 {
                plain = median;
            }
            println!("{name:<28} {median:>9.1} {least:>9.1} {most:>9.1} {:>9.1}", median - plain);
        }
    }
}

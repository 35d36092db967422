//! What a request's stages cost together, held against the whole request.

use std::collections::BTreeMap;

use sluis_bench::instructions::Figure;

use crate::all;
use crate::instructions::net;
use crate::message::{HEAD, WHOLE};
use crate::stage::{Shared, Turns};
use crate::whole::{FORWARDED, MAPPED};

/// Requests by which the kernel's share is found.
const ASKED: u64 = 20_000;

/// A request by its parts.
struct Request {
    title: &'static str,
    whole: &'static str,
    parts: &'static [&'static str],
}

const REQUESTS: [Request; 2] = [
    Request {
        title: "An order with a known token, forwarded",
        whole: FORWARDED,
        parts: &[HEAD, WHOLE, "head/check", "admit/known token", "forward/head", "forward/answer", "reply", "record"],
    },
    Request {
        title: "The same through order-map",
        whole: MAPPED,
        parts: &[
            HEAD,
            WHOLE,
            "head/check",
            "admit/known token",
            "plugin/decided",
            "forward/head",
            "forward/answer",
            "reply",
            "record",
        ],
    },
];

/// Prints a table of each request whose figures are all there.
pub fn print(figures: &BTreeMap<String, Figure>, house: &Shared) {
    let (stages, _) = all();
    for request in &REQUESTS {
        let own = |name: &'static str| {
            let stage = stages.iter().find(|stage| stage.name == name)?;
            Some((name, net(stage, *figures.get(name)?, figures)))
        };
        let parts: Option<Vec<_>> = request.parts.iter().copied().map(own).collect();
        let (Some(parts), Some(whole)) = (parts, figures.get(request.whole)) else { continue };
        let Some(stage) = stages.iter().find(|stage| stage.name == request.whole) else { continue };
        let kernel = kernel(&mut *stage.prepare(house));
        table(request.title, &parts, *whole, kernel);
    }
}

fn table(title: &str, parts: &[(&str, Figure)], whole: Figure, kernel: f64) {
    // None where one of them was not counted.
    let instructions = parts.iter().map(|(_, figure)| figure.instructions).sum::<Option<f64>>();
    let nanoseconds = parts.iter().map(|(_, figure)| figure.nanoseconds).sum::<f64>();
    let line = |what: &str, instructions: Option<f64>, nanoseconds: f64| {
        let instructions = instructions.map_or_else(|| "–".to_owned(), |count| format!("{count:.0}"));
        println!("{what:<32} {instructions:>14} {nanoseconds:>12.0}");
    };
    println!("\n{title:<32} {:>14} {:>12}", "instructions", "CPU ns");
    for (name, figure) in parts {
        line(name, figure.instructions, figure.nanoseconds);
    }
    line("together", instructions, nanoseconds);
    let rest = whole.instructions.zip(instructions).map(|(whole, parts)| whole - parts);
    line("sockets, runtime, timers", rest, whole.nanoseconds - kernel - nanoseconds);
    line("the kernel", None, kernel);
    line("the whole request", whole.instructions, whole.nanoseconds);
}

/// Nanoseconds of a turn that the kernel takes for this process.
fn kernel(turns: &mut dyn Turns) -> f64 {
    turns.take(ASKED / 10);
    let before = in_kernel();
    turns.take(ASKED);
    (in_kernel() - before) / ASKED as f64
}

/// Nanoseconds that this process was in the kernel, to a hundredth of a second.
fn in_kernel() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // proc(5): stime is the 15th field, the 13th behind the name.
    let ticks: f64 = stat.rsplit(") ").next().unwrap().split(' ').nth(12).unwrap().parse().unwrap();
    ticks * 1e7
}

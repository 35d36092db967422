//! The limits of plugins, as the code has them.

use std::fmt::Write;
use std::time::Duration;

use sluis_model::config::default_call_limits;
use sluis_model::hook::event;
use sluis_model::plan::CallLimits;
use sluis_model::{http_client, kv};
use sluis_sandbox::limits::{Ceiling, OF_A_COMPONENT, OF_AN_INSTANCE};

use crate::failure::Failure;

/// Prints them as Markdown, for the documents too.
pub fn run() -> Result<(), Failure> {
    crate::say(table().trim_end())?;
    Ok(())
}

fn table() -> String {
    let mut table = String::from("| | At most | Setting |\n|---|---|---|\n");
    let mut row = |what: &str, most: String, setting: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(table, "| {what} | {most} | {setting} |");
    };
    let CallLimits { cpu, wall, memory, host_calls, http_requests, log_lines, log_line_bytes } = default_call_limits();
    row("a call: CPU", time(cpu), "`plugins.cpu`");
    row("a call: by the wall's clock", time(wall), "`plugins.wall`");
    row("a call: memory", size(memory as u64), "`plugins.memory`");
    row("a call: host calls", grouped(host_calls.into()), "`plugins.host_calls`");
    row("a call: requests to other systems", grouped(http_requests.into()), "`plugins.http_requests`");
    row("a call: lines in the log", grouped(log_lines.into()), "`plugins.log_lines`");
    row("a line in the log", size(log_line_bytes as u64), "`plugins.log_line_bytes`");
    row("a key, a value of `kv`", format!("{}, {}", size(kv::KEY_BYTES as u64), size(kv::VALUE_BYTES as u64)), "");
    let (sent, came) = (http_client::REQUEST_BYTES as u64, http_client::ANSWER_BYTES as u64);
    row("a body sent, and one that comes", format!("{}, {}", size(sent), size(came)), "");
    row("a sink's answer that `judge` is told", size(event::ANSWER_BYTES as u64), "");
    for (of, ceilings) in [("a component", &OF_A_COMPONENT[..]), ("an instance", &OF_AN_INSTANCE[..])] {
        for Ceiling { what, most, unit } in ceilings {
            let most = match *unit {
                "bytes" => size(*most),
                "ms" => time(Duration::from_millis(*most)),
                _ => grouped(*most),
            };
            row(&format!("{of}: {what}"), most, "");
        }
    }
    table
}

fn time(time: Duration) -> String {
    match time.as_millis() {
        millis if millis >= 1_000 && millis % 1_000 == 0 => format!("{} s", millis / 1_000),
        millis => format!("{millis} ms"),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documents_have_the_limits_of_the_code() {
        let text = include_str!("../../../plugins/README.md");
        assert!(text.contains(&super::table()), "put this into plugins/README.md:\n\n{}", super::table());
    }
}

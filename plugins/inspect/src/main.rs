//! `inspect FILE…` lists each component's size, memory, imports and exports. It fails where a file is no component, or
//! a lean one (any but those named in `--std NAME`) imports more than the contract's own capabilities.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::ExitCode;

use wasmparser::{Encoding, Parser, Payload};

/// What is told of a component.
#[derive(Default)]
struct Facts {
    imports: Vec<String>,
    exports: Vec<String>,
    /// First memory of its main module, in pages of 64 KiB.
    memory: u64,
    functions: usize,
}

fn main() -> ExitCode {
    let mut std_guests = Vec::new();
    let mut bad = 0;
    let mut arguments = std::env::args().skip(1);
    println!("{:<22}{:>8}{:>8}{:>11}  exports / imports", "component", "bytes", "KiB mem", "functions");
    while let Some(argument) = arguments.next() {
        if argument == "--std" {
            std_guests.extend(arguments.next());
            continue;
        }
        let name = Path::new(&argument).file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        match std::fs::read(&argument).map_err(|e| e.to_string()).and_then(|bytes| Ok((bytes.len(), facts(&bytes)?))) {
            Ok((size, facts)) => {
                let list = |names: &[String]| names.iter().map(|n| short(n)).collect::<Vec<_>>().join(" ");
                let (exports, imports) = (list(&facts.exports), list(&facts.imports));
                let (memory, functions) = (facts.memory * 64, facts.functions);
                println!("{name:<22}{size:>8}{memory:>8}{functions:>11}  {exports} / {imports}");
                let foreign = facts.imports.iter().filter(|n| !n.starts_with("sluis:plugin/"));
                if !std_guests.contains(&name) && foreign.count() > 0 {
                    println!("{name}: a lean guest imports what is not of the contract");
                    bad += 1;
                }
            }
            Err(error) => {
                println!("{name}: {error}");
                bad += 1;
            }
        }
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `log` for `sluis:plugin/log@1.0.0`; other packages keep their names.
fn short(name: &str) -> &str {
    name.strip_prefix("sluis:plugin/").and_then(|n| n.split_once('@')).map_or(name, |(name, _)| name)
}

fn facts(bytes: &[u8]) -> Result<Facts, String> {
    let mut facts = Facts::default();
    // Sections of nested modules and components come in between; only those of the outermost are its own.
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let text = |error: wasmparser::BinaryReaderError| error.to_string();
        match payload.map_err(text)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err("a module, no component".into());
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    facts.imports.push(import.map_err(text)?.name.name.to_string());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    facts.exports.push(export.map_err(text)?.name.name.to_string());
                }
            }
            Payload::MemorySection(section) if facts.memory == 0 => {
                facts.memory = section.into_iter().next().transpose().map_err(text)?.map_or(0, |m| m.initial);
            }
            Payload::CodeSectionStart { count, .. } => facts.functions += count as usize,
            _ => {}
        }
    }
    Ok(facts)
}

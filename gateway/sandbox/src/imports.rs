//! What an upload is, by its first bytes, and what it imports and exports, by its outermost sections. No validation:
//! that happens in the worker; the linker has the last word on what is imported.

use sluis_model::plan::Grant;
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::Engine;

use crate::capability::{Offer, offer};
use crate::ceilings::NESTING;
use crate::contract::{ON_EVENT, ON_REQUEST, ON_REQUEST_HEAD, ON_RESPONSE};
use crate::error::LoadError;
use crate::text;

/// Bytes of a name in an error.
const NAME_BYTES: usize = 128;
/// Names listed in an error.
const NAMES: usize = 16;
/// Imports and exports of a component; far more than the contract has.
const ITEMS: usize = 1_000;

/// The outside of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surface {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// Reads the outside of `bytes`; refuses what is no component at all.
pub(crate) fn surface(bytes: &[u8]) -> Result<Surface, LoadError> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::NotAComponent("a compiled artefact; upload the component it was made from".into()));
    }
    let magic = bytes.get(..4);
    if magic != Some(b"\0asm") {
        return Err(LoadError::NotAComponent("the file does not begin as WebAssembly".into()));
    }
    let mut surface = Surface::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| malformed(&error))?;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(LoadError::WrongWorld("a core module; make a component of it".into()));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > NESTING {
                    return Err(LoadError::TooComplex(format!("{depth} components in one another, at most {NESTING}")));
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                at_most_items(&surface, section.count())?;
                for import in section {
                    let import = import.map_err(|error| malformed(&error))?;
                    surface.imports.push(text::escape(import.name.name, NAME_BYTES));
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                at_most_items(&surface, section.count())?;
                for export in section {
                    let export = export.map_err(|error| malformed(&error))?;
                    surface.exports.push(text::escape(export.name.name, NAME_BYTES));
                }
            }
            _ => {}
        }
    }
    Ok(surface)
}

/// Refuses a section by its count, of which the parser reads no more, before any of its entries is read and kept.
fn at_most_items(surface: &Surface, more: u32) -> Result<(), LoadError> {
    let read = surface.imports.len() + surface.exports.len();
    let more = usize::try_from(more).unwrap_or(usize::MAX);
    if read.saturating_add(more) > ITEMS {
        return Err(LoadError::TooComplex(format!("more than {ITEMS} imports and exports")));
    }
    Ok(())
}

fn malformed(error: &wasmparser::Error) -> LoadError {
    LoadError::NotAComponent(text::escape(&error.to_string(), 256))
}

/// Refuses, by name, imports that are not offered, then those that are not granted, then a component without a hook.
pub(crate) fn admit(surface: &Surface, grants: &[Grant]) -> Result<(), LoadError> {
    let named = |wanted: fn(Offer, &[Grant]) -> bool| -> Vec<String> {
        surface.imports.iter().filter(|import| wanted(offer(import), grants)).take(NAMES).cloned().collect()
    };
    let unknown = named(|offer, _| offer == Offer::Never);
    if !unknown.is_empty() {
        return Err(LoadError::UndeclaredCapability(unknown));
    }
    let ungranted = named(|offer, grants| matches!(offer, Offer::Granted(grant) if !grants.contains(&grant)));
    if !ungranted.is_empty() {
        return Err(LoadError::CapabilityNotGranted(ungranted));
    }
    let hooks = [ON_REQUEST.0, ON_REQUEST_HEAD.0, ON_RESPONSE.0, ON_EVENT];
    if !surface.exports.iter().any(|export| hooks.contains(&export.as_str())) {
        return Err(LoadError::WrongWorld(format!("it exports none of {}", hooks.join(", "))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(imports: &[&str]) -> Surface {
        Surface {
            imports: imports.iter().map(|s| s.to_string()).collect(),
            exports: vec!["sluis:plugin/on-request@1.0.0".into()],
        }
    }

    #[test]
    fn a152_imports_outside_the_list_are_named() {
        for import in [
            "wasi:filesystem/types@0.2.6",
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:io/poll@0.3.0",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/stdout@0.2.x",
            "wasi:cli/stdout@0.2.",
            "wasi:cli/stdout",
            "sluis:plugin/log@1.0.1",
            "sluis:plugin/log",
            "sluis:plugin/files@1.0.0",
            "log",
            "",
        ] {
            let grants = [Grant::Log, Grant::Config];
            let refused = admit(&of(&["sluis:plugin/log@1.0.0", import]), &grants);
            assert_eq!(refused, Err(LoadError::UndeclaredCapability(vec![import.to_owned()])));
        }
    }

    #[test]
    fn a153_imports_without_a_grant_are_named() {
        let wants = of(&["sluis:plugin/types@1.0.0", "sluis:plugin/log@1.0.0", "sluis:plugin/config@1.0.0"]);
        let refused =
            |names: &[&str]| Err(LoadError::CapabilityNotGranted(names.iter().map(|s| s.to_string()).collect()));
        assert_eq!(admit(&wants, &[]), refused(&["sluis:plugin/log@1.0.0", "sluis:plugin/config@1.0.0"]));
        assert_eq!(admit(&wants, &[Grant::Log]), refused(&["sluis:plugin/config@1.0.0"]));
        assert_eq!(admit(&wants, &[Grant::Config, Grant::Log]), Ok(()));
        assert_eq!(admit(&of(&["wasi:cli/stderr@0.2.6", "wasi:random/random@0.2.12"]), &[]), Ok(()));
    }

    #[test]
    fn a148_what_is_no_webassembly_is_refused() {
        for bytes in
            [&b""[..], b"\0as", b"(component)", b"\x7fELF\x02\x01\x01", b"MZ", b"PK\x03\x04", b"\0asm", b"\0asm\x0d\0"]
        {
            assert_eq!(surface(bytes).map_err(|e| e.code()), Err("not-a-component"), "{bytes:?}");
        }
        assert_eq!(surface(b"\0asm\x0e\0\x01\0").map_err(|e| e.code()), Err("not-a-component"));
    }

    #[test]
    fn a149_a_core_module_is_the_wrong_world() {
        assert_eq!(surface(b"\0asm\x01\0\0\0").map_err(|e| e.code()), Err("wrong-world"));
        let bare = surface(b"\0asm\x0d\0\x01\0").and_then(|surface| admit(&surface, &[]));
        assert_eq!(bare.map_err(|e| e.code()), Err("wrong-world"));
    }

    /// A section of a component: its id, and less than 128 bytes of it.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id, u8::try_from(content.len()).unwrap_or(u8::MAX)][..], content].concat()
    }

    #[test]
    fn a_count_is_refused_before_its_entries_are_read() {
        // 1,001 in LEB128, with no entry behind it.
        for id in [10, 11] {
            let bytes = [&b"\0asm\x0d\0\x01\0"[..], &section(id, &[0xe9, 0x07])[..]].concat();
            assert_eq!(surface(&bytes).map_err(|e| e.code()), Err("too-complex"), "{id}");
        }
    }

    #[test]
    fn components_in_one_another_are_refused_past_the_ceiling() {
        let nested = |depth: u32| {
            let empty = b"\0asm\x0d\0\x01\0".to_vec();
            (0..depth).fold(empty.clone(), |inner, _| {
                // Its length, less than 2^14, in two bytes of LEB128.
                let length = [inner.len() as u8 | 0x80, (inner.len() >> 7) as u8];
                [&empty[..], &[4][..], &length[..], &inner[..]].concat()
            })
        };
        assert_eq!(surface(&nested(NESTING)), Ok(Surface::default()));
        assert_eq!(surface(&nested(NESTING + 1)).map_err(|e| e.code()), Err("too-complex"));
    }
}

//! Components that differ: order-map with another mark for every tenant.

use std::path::{Path, PathBuf};

use crate::Error;

/// The field that order-map sets on what it forwards.
pub const MARK_FIELD: &str = "x-canonical";
/// Its value as built, a constant in the component's data.
const MARK: &[u8] = b"order.v1";

/// Where `sh plugins/build.sh` puts components.
pub fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist")
}

/// The built component of this name, or what to do to get it.
pub fn read(dir: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let file = dir.join(name).with_extension("wasm");
    std::fs::read(&file).map_err(|error| format!("{}: {error}; run `sh plugins/build.sh`", file.display()).into())
}

/// The mark of a tenant: as long as the one it replaces.
pub fn mark(tenant: usize) -> String {
    format!("t{tenant:07}")
}

/// order-map with that mark in its data: other bytes, another digest, compiled and mapped on its own, and a request that
/// went through it shows whose it was. Fails unless the original mark is there exactly once.
pub fn marked(order_map: &[u8], tenant: usize) -> Result<Vec<u8>, Error> {
    let places: Vec<usize> =
        order_map.windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK).map(|(at, _)| at).collect();
    let [at] = places[..] else {
        return Err(format!("order-map has its mark in {} places instead of one", places.len()).into());
    };
    let mark = mark(tenant);
    let mut bytes = order_map.to_vec();
    bytes.get_mut(at..at + mark.len()).ok_or("the mark does not fit")?.copy_from_slice(mark.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_component_differs_in_its_mark_alone() {
        let original = b"\0asm..order.v1..x-canonical";
        let marked = marked(original, 42).unwrap();
        assert_eq!(marked, b"\0asm..t0000042..x-canonical");
    }

    #[test]
    fn a_component_without_one_mark_is_refused() {
        assert!(marked(b"\0asm", 1).is_err());
        assert!(marked(b"order.v1 order.v1", 1).is_err());
    }
}

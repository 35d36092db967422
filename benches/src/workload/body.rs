//! Bodies made from a template: the places in it are found once, and filled in for each request.

use std::io::Write;

use bytes::Bytes;

use super::draw::Draw;
use super::text::Invalid;

/// Largest body.
const LARGEST: usize = 16 << 20;
/// What `{{pad}}` is filled with: letters that a JSON string may hold, without long repetitions.
const PADDING: &[u8] = b"the quick brown fox jumps over the lazy dog and 16 other foxes walk around 32 sleeping dogs; ";

/// A template, ready to be filled in.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing to fill in.
    Fixed(Bytes),
    /// Text and places.
    Made(Vec<Piece>),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(Bytes),
    /// `{{order}}`: the order's name, the run's and its number.
    Order,
    /// `{{number}}`: the order's.
    Number,
    /// `{{key}}`: the number of the order's key.
    Key,
    /// `{{tenant}}`: the tenant's id.
    Tenant,
    /// `{{uuid}}`: a UUID (RFC 9562, version 4) of this order.
    Uuid,
    /// `{{pad}}`: as much as the size takes. At most once.
    Pad,
}

/// What a template is filled in with.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The run's name.
    pub run: &'a str,
    /// The order's number.
    pub number: u64,
    /// Its key's number.
    pub key: u64,
    /// Its tenant's id.
    pub tenant: &'a str,
    /// Bytes that it is to have, where the template has a place for padding.
    pub size: usize,
}

impl Body {
    /// Finds the places of a template. `sized` says whether it is to be padded to a size.
    pub fn parse(at: &str, template: &str, sized: bool) -> Result<Body, Invalid> {
        if template.len() > LARGEST {
            return Err(Invalid::new(at, format!("a template has at most {LARGEST} bytes")));
        }
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once("{{") {
            let place = after.split_once("}}");
            let (name, after) = place.ok_or_else(|| Invalid::new(at, "`{{` without its `}}`"))?;
            if !text.is_empty() {
                pieces.push(Piece::Text(Bytes::copy_from_slice(text.as_bytes())));
            }
            pieces.push(Piece::named(at, name.trim())?);
            rest = after;
        }
        let pads = pieces.iter().filter(|piece| **piece == Piece::Pad).count();
        match (pads, sized) {
            (0, true) => return Err(Invalid::new(at, "a size needs `{{pad}}` in the body")),
            (1, false) => return Err(Invalid::new(at, "`{{pad}}` needs a size")),
            (2.., _) => return Err(Invalid::new(at, "`{{pad}}` can be there once")),
            _ => {}
        }
        if pieces.is_empty() {
            return Ok(Body::Fixed(Bytes::copy_from_slice(rest.as_bytes())));
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(Bytes::copy_from_slice(rest.as_bytes())));
        }
        Ok(Body::Made(pieces))
    }

    /// Refuses a size that no body can have.
    pub fn check_size(at: &str, size: usize) -> Result<(), Invalid> {
        if size > LARGEST { Err(Invalid::new(at, format!("a body has at most {LARGEST} bytes"))) } else { Ok(()) }
    }

    /// The body of one order. One that is longer than its size without any padding stays so.
    pub fn fill(&self, order: Order<'_>, seed: u64) -> Bytes {
        let pieces = match self {
            Body::Fixed(bytes) => return bytes.clone(),
            Body::Made(pieces) => pieces,
        };
        let bare: usize = pieces.iter().map(|piece| piece.len(order)).sum();
        let padding = order.size.saturating_sub(bare);
        let mut out = Vec::with_capacity(bare + padding);
        for piece in pieces {
            // Writing to memory does not fail.
            let _ = match piece {
                Piece::Text(text) => out.write_all(text),
                Piece::Order => write!(out, "{}-{}", order.run, order.number),
                Piece::Number => write!(out, "{}", order.number),
                Piece::Key => write!(out, "{}", order.key),
                Piece::Tenant => out.write_all(order.tenant.as_bytes()),
                Piece::Uuid => uuid(&mut out, Draw::of(!seed, order.number)),
                Piece::Pad => {
                    pad(&mut out, padding);
                    Ok(())
                }
            };
        }
        out.into()
    }
}

impl Piece {
    fn named(at: &str, name: &str) -> Result<Piece, Invalid> {
        Ok(match name {
            "order" => Piece::Order,
            "number" => Piece::Number,
            "key" => Piece::Key,
            "tenant" => Piece::Tenant,
            "uuid" => Piece::Uuid,
            "pad" => Piece::Pad,
            other => {
                let what = format!("no place is called `{other}`; there are order, number, key, tenant, uuid and pad");
                return Err(Invalid::new(at, what));
            }
        })
    }

    /// Bytes that it takes, padding left out.
    fn len(&self, order: Order<'_>) -> usize {
        let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
        match self {
            Piece::Text(text) => text.len(),
            Piece::Order => order.run.len() + 1 + digits(order.number),
            Piece::Number => digits(order.number),
            Piece::Key => digits(order.key),
            Piece::Tenant => order.tenant.len(),
            Piece::Uuid => 36,
            Piece::Pad => 0,
        }
    }
}

fn uuid(out: &mut Vec<u8>, mut draw: Draw) -> std::io::Result<()> {
    let (high, low) = (draw.bits(), draw.bits());
    write!(
        out,
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        (low >> 48) & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )
}

fn pad(out: &mut Vec<u8>, mut bytes: usize) {
    while bytes > 0 {
        let part = &PADDING[..bytes.min(PADDING.len())];
        out.extend_from_slice(part);
        bytes -= part.len();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(template: &str, number: u64, size: usize) -> String {
        let body = Body::parse("body", template, template.contains("{{pad}}")).unwrap();
        let bytes = body.fill(Order { run: "r1", number, key: 7, tenant: "acme", size }, 1);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn places_are_filled_in_to_the_exact_size() {
        assert_eq!(filled("[{{number}},{{ key }},\"{{tenant}}\",{{order}}]", 1_000, 0), "[1000,7,\"acme\",r1-1000]");
        for size in [30, 100, 65_536] {
            let body = filled("{\"n\":{{number}},\"pad\":\"{{pad}}\"}", 0, size);
            assert_eq!(body.len(), size);
            assert!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["pad"].is_string());
        }
        assert_eq!(filled("{{number}}{{pad}}", 12_345, 3), "12345");
    }

    #[test]
    fn a_uuid_belongs_to_its_order() {
        let body = filled("{{uuid}}", 1, 0);
        assert_eq!(uuid::Uuid::parse_str(&body).unwrap().get_version_num(), 4);
        assert_eq!(body, filled("{{uuid}}", 1, 0));
        assert_ne!(body, filled("{{uuid}}", 2, 0));
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_refused() {
        let said = |template, sized| Body::parse("body", template, sized).unwrap_err().what;
        assert!(said("{{nunber}}", false).contains("no place is called `nunber`"));
        assert!(said("{{number", false).contains("without its"));
        assert!(said("{{pad}}", false).contains("needs a size"));
        assert!(said("{{pad}}{{pad}}", true).contains("once"));
        assert!(said("{}", true).contains("needs `{{pad}}`"));
    }
}

//! The tree of one host's path templates, a node per segment.

use std::collections::HashMap;

use smallvec::SmallVec;

/// Segments of a template, which is also how deep a search can go.
const MAX_SEGMENTS: usize = 64;

/// A path template, taken apart.
#[derive(Debug)]
pub(super) struct Template<'t>(Vec<Segment<'t>>);

#[derive(Debug, Clone, Copy)]
enum Segment<'t> {
    Fixed(&'t str),
    One(&'t str),
    Rest(&'t str),
}

impl<'t> Template<'t> {
    /// Takes `text` apart, or says what is wrong with it.
    pub(super) fn parse(text: &'t str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("does not start with `/`")?;
        let count = rest.split('/').count();
        if count > MAX_SEGMENTS {
            return Err("has more than 64 segments");
        }
        let mut segments: Vec<Segment<'_>> = Vec::with_capacity(count);
        for (at, text) in rest.split('/').enumerate() {
            let segment = Segment::parse(text, at + 1 == count)?;
            if let Some(name) = segment.name()
                && segments.iter().any(|earlier| earlier.name() == Some(name))
            {
                return Err("has a parameter twice");
            }
            segments.push(segment);
        }
        Ok(Template(segments))
    }

    /// Names of the parameters, in order.
    pub(super) fn names(&self) -> Box<[Box<str>]> {
        self.0.iter().filter_map(|segment| segment.name().map(Box::from)).collect()
    }
}

impl<'t> Segment<'t> {
    fn parse(text: &'t str, last: bool) -> Result<Self, &'static str> {
        if let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            let (name, rest) = match inner.strip_suffix("...") {
                Some(name) => (name, true),
                None => (inner, false),
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
                return Err("has a parameter whose name is not letters, digits, `_` and `-`");
            }
            return match (rest, last) {
                (true, false) => Err("has segments after `{name...}`"),
                (true, true) => Ok(Segment::Rest(name)),
                (false, _) => Ok(Segment::One(name)),
            };
        }
        if text.contains(['{', '}']) {
            return Err("has a parameter that is not a whole segment");
        }
        if text.is_empty() && !last {
            return Err("has an empty segment");
        }
        // Anything else never comes out of `normalise`, so the template would serve nothing.
        let arrives = crate::target::normalise(format!("/{text}").as_bytes())
            .is_ok_and(|target| target.query.is_empty() && target.path.get(1..) == Some(text));
        if !arrives || text.contains('?') {
            return Err("has a segment that no normalised path can have");
        }
        Ok(Segment::Fixed(text))
    }

    fn name(&self) -> Option<&'t str> {
        match self {
            Segment::Fixed(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name),
        }
    }
}

/// Values on the way down.
pub(super) type Values<'p> = SmallVec<[&'p str; 4]>;

pub(super) struct Tree {
    /// The first is the root.
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree { nodes: vec![Node::default()] }
    }
}

/// What follows a prefix of segments; positions are of nodes, leaves belong to the caller.
#[derive(Default)]
struct Node {
    fixed: HashMap<Box<str>, usize>,
    one: Option<usize>,
    /// The leaf of templates that end here.
    end: Option<usize>,
    /// The leaf of templates that end in `{name...}` here.
    rest: Option<usize>,
}

impl Tree {
    /// The place of the template's leaf; empty if the template is new.
    pub(super) fn leaf(&mut self, template: &Template<'_>) -> &mut Option<usize> {
        let mut at = 0;
        for segment in &template.0 {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Fixed(text) => *node.fixed.entry((*text).into()).or_insert(next),
                Segment::One(_) => *node.one.get_or_insert(next),
                Segment::Rest(_) => return &mut self.nodes[at].rest,
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        &mut self.nodes[at].end
    }

    /// The leaf that serves `path`; `values` then has those of its parameters.
    pub(super) fn find<'p>(&self, path: &'p str, values: &mut Values<'p>) -> Option<usize> {
        self.walk(0, Some(path.strip_prefix('/')?), values)
    }

    /// `rest` is what follows the slash behind the node's prefix, none at the path's end. Goes no deeper than the
    /// templates do, and leaves `values` as it was where nothing serves.
    fn walk<'p>(&self, node: usize, rest: Option<&'p str>, values: &mut Values<'p>) -> Option<usize> {
        let node = &self.nodes[node];
        let Some(rest) = rest else {
            return node.end;
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        let fixed = node.fixed.get(segment).and_then(|next| self.walk(*next, after, values));
        if fixed.is_some() {
            return fixed;
        }
        if let Some(next) = node.one
            && !segment.is_empty()
        {
            values.push(segment);
            if let Some(leaf) = self.walk(next, after, values) {
                return Some(leaf);
            }
            values.pop();
        }
        let leaf = node.rest?;
        values.push(rest);
        Some(leaf)
    }
}

//! Every scalar made wrong and every key misspelt, one at a time: each must be refused at its own place.

use super::super::tree::{Node, Place, Value, parse};
use super::example::{full, world};

/// Where one thing is made wrong, and what stands there then.
struct Mutation {
    place: Place,
    /// Of the text that is replaced, in characters.
    length: usize,
    with: String,
    /// What the message must name, if it is known.
    names: Option<String>,
}

fn gather(node: &Node, secret: bool, mutations: &mut Vec<Mutation>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                // The tenant chooses the keys of `config`, the operator those of `headers` and of `signing_keys`.
                if !secret && key.text != "orders" {
                    let with = format!("{}zz", key.text);
                    let length = key.text.chars().count();
                    mutations.push(Mutation { place: key.place, length, names: Some(format!("`{with}`")), with });
                }
                let secret = secret || ["config", "headers", "signing_keys"].contains(&&*key.text);
                gather(value, secret, mutations);
            }
        }
        Value::List(items) => items.iter().for_each(|item| gather(item, secret, mutations)),
        value => {
            let length = node.place.length as usize;
            let mut wrong = vec!["{x: 1}", "[[1]]", "null"];
            match value {
                // Any number is a number of bytes.
                Value::Text { text, .. } if text.ends_with("iB") => wrong.extend(["true", "-1", "1.5", "1KB", "1 KiB"]),
                Value::Text { .. } => wrong.extend(["true", "77", "-1", "1.5"]),
                Value::Bool(_) => wrong.extend(["maybe", "0"]),
                _ => wrong.extend(["true", "many", "-1", "0", "99999999999999999999", ".nan", "1e400", "1.5x"]),
            }
            for with in wrong {
                mutations.push(Mutation { place: node.place, length, with: with.to_owned(), names: None });
            }
        }
    }
}

fn apply(text: &str, mutation: &Mutation) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = &mut lines[mutation.place.line as usize - 1];
    let characters: Vec<char> = line.chars().collect();
    let at = mutation.place.column as usize - 1;
    let before: String = characters[..at].iter().collect();
    let after: String = characters[at + mutation.length..].iter().collect();
    *line = format!("{before}{}{after}", mutation.with);
    lines.join("\n")
}

#[test]
fn a273_every_setting_made_wrong_is_refused_where_it_stands() {
    let text = full();
    let node = parse(&text, 0, &mut 0).unwrap();
    let mut mutations = Vec::new();
    gather(&node, false, &mut mutations);
    assert!(mutations.len() > 800, "{}", mutations.len());
    let mut wrong = Vec::new();
    for mutation in &mutations {
        let Place { line, column, .. } = mutation.place;
        let what = format!("{line}:{column} with {}", mutation.with);
        match world(&apply(&text, mutation)).check() {
            // 0 is allowed where nothing, or no limit on waiting, makes sense.
            Ok(_) if mutation.with == "0" => {}
            Ok(_) => wrong.push(format!("{what} is accepted")),
            Err(error) => {
                // A key too short to be recognised in its misspelling is missed as well, which is said before.
                let mut there = error.problems.iter().filter(|p| p.file == "gateway.yaml" && p.line == line);
                if !there.any(|p| mutation.names.as_ref().is_none_or(|name| p.message.contains(name))) {
                    wrong.push(format!("{what} is refused elsewhere:\n{error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), mutations.len(), wrong.join("\n"));
}

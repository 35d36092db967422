//! Changes answers as the upstream tells it to, rightly and wrongly. What to do stands in the answer's header `x-tester`:
//!
//! | Directive | What it does |
//! |---|---|
//! | none, or `keep` | leaves the answer as it is |
//! | `status/N` | changes the status |
//! | `body/TEXT` | changes the body |
//! | `set/NAME/VALUE`, `remove/NAME` | sets or removes a header |
//! | `told` | changes the body to what the plugin was told, as JSON |
//! | `trap`, `spin` | panics, loops for ever |
//! | `crlf`, `framing`, `many-headers` | a forged header, its own `content-length`, 10,000 headers |
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use core::hint::black_box;

use sluis_plugin::{Response, ResponseChange};

sluis_plugin::plugin! { on_response: change }

/// Does what the answer's directive says.
pub fn change(response: Response) -> ResponseChange {
    let directive = response.header("x-tester").unwrap_or("keep").to_string();
    let split =
        |text: &str| text.split_once('/').map_or((text.to_string(), String::new()), |(a, b)| (a.into(), b.into()));
    let (verb, rest) = split(&directive);
    let unchanged = ResponseChange::none();
    match verb.as_str() {
        "status" => unchanged.status(rest.parse().unwrap_or(0)),
        "body" => unchanged.body(rest),
        "set" => {
            let (name, value) = split(&rest);
            unchanged.header(name, value)
        }
        "remove" => unchanged.remove_header(rest),
        "told" => unchanged.json(&serde_json::json!({
            "status": response.status,
            "headers": response.headers,
            "body": String::from_utf8_lossy(&response.body),
            "route": response.route,
            "tenant": response.tenant,
            "correlation_id": response.correlation_id,
        })),
        "trap" => panic!("the tester was asked to panic on the answer"),
        "spin" => loop {
            black_box(0);
        },
        "crlf" => unchanged.header("x-lie", "a\r\nx-forged: 1"),
        "framing" => unchanged.header("content-length", "1"),
        "many-headers" => (0..10_000).fold(unchanged, |c, n| c.header(format!("x-lie-{n}"), "1")),
        _ => unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(directive: &str) -> ResponseChange {
        let mut response = Response::sample(200, b"hello");
        response.headers.push(("x-tester".into(), directive.into()));
        change(response)
    }

    #[test]
    fn directives_do_what_the_table_says() {
        assert_eq!(asked("status/201").status, Some(201));
        assert_eq!(asked("body/a/b").body.as_deref(), Some(b"a/b".as_slice()));
        assert_eq!(asked("set/x-a/b").set_headers, [("x-a".into(), "b".into())]);
        assert_eq!(asked("remove/x-a").remove_headers, ["x-a"]);
        let kept = change(Response::sample(200, b"hello"));
        assert!(kept.status.is_none() && kept.body.is_none() && kept.set_headers.is_empty());
    }
}

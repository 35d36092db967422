use alloc::format;
use alloc::string::String;

use sluis_plugin::Decision;

/// What no gateway may act on.
///
/// | Directive | Lie |
/// |---|---|
/// | `header-crlf`, `header-nul` | a value that would begin another header; one with a NUL |
/// | `header-name`, `header-empty` | a name with a space and colon; an empty one |
/// | `forbidden-header/NAME` | sets `NAME` (`host` where none) |
/// | `forbidden-removal/NAME` | removes `NAME` (`host` where none) |
/// | `many-headers`, `large-header` | 10,000 of them; one of 1 MiB |
/// | `status/N` | answers with that status, 0 where it is no number |
/// | `respond-header-crlf`, `respond-framing` | answers with a forged header; with its own `transfer-encoding` |
/// | `upstream`, `sink` | names one that no route has |
/// | `path`, `path-crlf`, `path-dots`, `path-relative`, `path-long` | `http://evil.test/`; a forged header; `/a/../../b`; no slash; 16 KiB |
/// | `path-authority` | `//evil.test/` |
/// | `problem-status/N` | refuses with that status, 200 where none |
/// | `problem-long` | refuses with 1 MiB of detail |
/// | `key-crlf`, `key-long`, `event-type`, `content-type` | enqueues with a forged, a 1 MiB, or an unsayable value |
/// | `large-body` | forwards a body of 8 MiB |
/// | `no-json`, `no-utf8` | forwards a body that is half a JSON text; one with a byte that is no UTF-8 |
pub fn lie(what: &str) -> Decision {
    let (what, argument) = what.split_once('/').unwrap_or((what, ""));
    let or = |default: &str| String::from(if argument.is_empty() { default } else { argument });
    let forward = Decision::forward();
    let enqueue = Decision::enqueue();
    match what {
        "header-crlf" => forward.header("x-lie", "a\r\nx-forged: 1").into(),
        "header-nul" => forward.header("x-lie", "a\0b").into(),
        "header-name" => forward.header("x lie:", "1").into(),
        "header-empty" => forward.header("", "1").into(),
        "forbidden-header" => forward.header(or("host"), "evil.test").into(),
        "forbidden-removal" => forward.remove_header(or("host")).into(),
        "many-headers" => (0..10_000).fold(forward, |f, n| f.header(format!("x-lie-{n}"), "1")).into(),
        "large-header" => forward.header("x-lie", "1".repeat(1 << 20)).into(),
        "status" => Decision::respond(argument.parse().unwrap_or(0)).into(),
        "respond-header-crlf" => Decision::respond(200).header("x-lie", "a\r\n\r\n<forged>").into(),
        "respond-framing" => Decision::respond(200).header("transfer-encoding", "chunked").into(),
        "upstream" => forward.upstream("no-such-upstream").into(),
        "sink" => enqueue.sink("no-such-sink").into(),
        "path" => forward.path("http://evil.test/").into(),
        "path-authority" => forward.path("//evil.test/").into(),
        "path-crlf" => forward.path("/a HTTP/1.1\r\nx-forged: 1\r\n\r\n").into(),
        "path-dots" => forward.path("/a/../../b").into(),
        "path-relative" => forward.path("a/b").into(),
        "path-long" => forward.path(format!("/{}", "a".repeat(16 << 10))).into(),
        "problem-status" => Decision::refuse(argument.parse().unwrap_or(200), "urn:sluis:tester:lie", "A lie").into(),
        "problem-long" => Decision::refuse(422, "urn:sluis:tester:lie", "A lie").detail("x".repeat(1 << 20)).into(),
        "key-crlf" => enqueue.key("a\r\nb").into(),
        "key-long" => enqueue.key("k".repeat(1 << 20)).into(),
        "event-type" => enqueue.event_type("a\r\nb").into(),
        "content-type" => enqueue.body("a\r\nb", "x").into(),
        "large-body" => forward.body("x".repeat(8 << 20)).into(),
        "no-json" => forward.body("{\"order\":").into(),
        "no-utf8" => forward.body(*b"{\"order\":\"\xff\"}").into(),
        _ => Decision::refuse(404, "urn:sluis:tester:unknown", "The tester knows no such lie").into(),
    }
}

//! A guest with `std`: what a plugin is whose author did nothing about it. Its panics go to WASI's stderr.
//!
//! | Path | What it does |
//! |---|---|
//! | `/echo` | forwards the request unchanged |
//! | `/panic/TEXT` | panics with that text |
//! | `/unwrap` | unwraps an error |
//! | `/index` | reads past the end of a list |
//! | `/print` | writes a line to stdout and one to stderr, forwards |
//! | `/spin` | loops for ever |
//! | `/allocate` | takes memory until there is none |
//! | anything else | refuses with 404 |

use std::hint::black_box;

use sluis_plugin::{Decision, Request};

sluis_plugin::plugin! { std, on_request: decide }

/// Does what the path says.
#[allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
pub fn decide(request: Request) -> Decision {
    let path = request.path.trim_start_matches('/');
    let (verb, rest) = path.split_once('/').unwrap_or((path, ""));
    match verb {
        "echo" => Decision::forward().into(),
        "panic" => panic!("{rest}"),
        "unwrap" => {
            let number: u32 = rest.parse().unwrap();
            Decision::respond(200).body(number.to_string()).into()
        }
        "index" => {
            let list = black_box(vec![1u8, 2, 3]);
            Decision::respond(200).body([list[black_box(request.path.len())]]).into()
        }
        "print" => {
            println!("a line on stdout");
            eprintln!("a line on stderr");
            Decision::forward().into()
        }
        "spin" => loop {
            black_box(0);
        },
        "allocate" => {
            let mut held = Vec::new();
            loop {
                held.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        _ => Decision::refuse(404, "urn:sluis:panics:unknown", "No such directive").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_what_to_do() {
        let asked = |path: &str| decide(Request::sample("POST", path, b""));
        assert!(matches!(asked("/echo"), Decision::Forward(_)));
        assert!(matches!(asked("/unwrap/7"), Decision::Respond(r) if r.body == b"7"));
        assert!(matches!(asked("/none"), Decision::Refuse(p) if p.status == 404));
    }

    #[test]
    #[should_panic(expected = "of these words")]
    fn it_panics_with_the_words_of_the_path() {
        decide(Request::sample("POST", "/panic/of these words", b""));
    }
}

//! Files that are none, or too many; includes; what is put in from elsewhere.

use std::path::Path;

use super::super::{MAX_DEPTH, MAX_FILE, MAX_SUBSTITUTED_FILE};
use super::{Memory, SMALL, small_with};

/// A world whose root includes `patterns`.
fn including(patterns: &str) -> Memory {
    Memory::new(format!("{SMALL}include: [{patterns}]\n"))
}

#[test]
fn a273_an_empty_file_is_refused() {
    for text in ["", "\n", "# nothing\n", "---\n", "{}", "~"] {
        let errors = Memory::new(text).errors();
        assert!(errors.starts_with("gateway.yaml:"), "{text:?} {errors}");
        assert!(errors.contains("`version` is missing"), "{text:?} {errors}");
    }
}

#[test]
fn a273_binary_is_refused_with_its_place() {
    assert!(Memory::new(&b"version: 1\nab\xff\xfe\n"[..]).errors().starts_with("gateway.yaml:2:3  not UTF-8 text"));
    for bytes in [&b"\x00\x01\x02\x03"[..], b"\x7fELF\x02\x01\x01", b"version: 1\n\x1b[31mred\n"] {
        let errors = Memory::new(bytes).errors();
        assert!(errors.starts_with("gateway.yaml:"), "{errors}");
        assert!(!errors.contains(|c: char| c.is_control() && c != '\n'), "{errors:?}");
    }
}

#[test]
fn a273_ten_mebibytes_are_refused_unread() {
    let errors = Memory::new(vec![b'#'; 10 << 20]).errors();
    assert!(errors.contains("is larger than 1024 KiB"), "{errors}");
    let mut text = SMALL.to_owned();
    text.extend(std::iter::repeat_n('#', MAX_FILE - text.len()));
    assert!(Memory::new(text).check().is_ok());
}

#[test]
fn a273_a_missing_file_is_named() {
    let errors = Memory::default().errors();
    assert!(errors.contains("`gateway.yaml` cannot be read: no such file"), "{errors}");
}

#[test]
fn a273_broken_yaml_is_refused_with_its_place() {
    for (text, line) in [
        ("version: 1\nlisteners: [\n", 3),
        ("version: 1\n\tlisteners: []\n", 2),
        ("version: 1\n a: b\n", 2),
        ("version: 1\nversion: 1\n", 2),
        ("version: 1\nserver: {threads: 1, threads: 2}\n", 2),
        ("version: 1\nserver: *unknown\n", 2),
        ("version: !!python/object 1\n", 1),
        ("version: 1\n---\nversion: 1\n", 2),
    ] {
        let error = Memory::new(text).check().unwrap_err();
        assert_eq!(error.problems[0].file, "gateway.yaml");
        assert!(error.problems[0].line.abs_diff(line) <= 1, "{text:?}\n{error}");
    }
}

#[test]
fn a273_alias_bombs_and_nesting_bombs_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let previous = format!("*a{}, ", n - 1).repeat(10);
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", previous.trim_end_matches(", ")));
    }
    let started = std::time::Instant::now();
    assert!(Memory::new(bomb).check().is_err());
    assert!(Memory::new("[".repeat(100_000)).check().is_err());
    assert!(Memory::new("- ".repeat(100_000)).check().is_err());
    assert!(Memory::new("{a: ".repeat(1_000)).check().is_err());
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn anchors_and_merge_keys_can_be_used() {
    let text = small_with(
        "- {name: erp, endpoints: [http://127.0.0.1:7001]}",
        "- &erp {name: erp, endpoints: [http://127.0.0.1:7001], retries: 0}\n  - {<<: *erp, name: other}",
    );
    let plan = Memory::new(text).check().unwrap_or_else(|error| panic!("{error}")).plan;
    assert_eq!(plan.upstreams["other"].retries, 0);
    assert_eq!(plan.upstreams["other"].endpoints[0].port, 7001);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert!(Memory::new(format!("\u{feff}{SMALL}")).check().is_ok());
}

#[test]
fn included_lists_are_added_in_the_order_of_names() {
    let world = including("'tenants.d/*.yaml', more/erp2.yaml")
        .file("tenants.d/b.yaml", "tenants:\n  - {id: bravo}\n")
        .file("tenants.d/a.yaml", "tenants:\n  - {id: alpha}\nupstreams: []\n")
        .file("tenants.d/.c.yaml.swp", "garbage: [")
        .file("tenants.d/c.txt", "garbage: [")
        .file("tenants.d/empty.yaml", "# nobody yet\n")
        .file(
            "more/erp2.yaml",
            "upstreams: [{name: erp2, endpoints: [http://x], tls: {ca: ca.pem}}]\ninclude: [sub/*.yaml]\n",
        )
        .file("more/sub/t.yaml", "tenants: [{id: sub}]\n");
    let checked = world.check().unwrap_or_else(|error| panic!("{error}"));
    let ids: Vec<_> =
        checked.plan.resolved["tenants"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["acme", "alpha", "bravo", "sub"]);
    let ca = checked.plan.upstreams["erp2"].tls.ca.clone().unwrap();
    assert_eq!(ca, Path::new("/etc/sluis/more/ca.pem"));
    assert_eq!(checked.plan.server.state_dir, Path::new("/etc/sluis/state"));
    let watched: Vec<_> = checked.files.iter().map(|path| path.strip_prefix("/etc/sluis").unwrap()).collect();
    let expected = ["gateway.yaml", "more/erp2.yaml", "more/sub", "more/sub/t.yaml", "tenants.d"];
    let files = ["a", "b", "empty"].map(|name| format!("tenants.d/{name}.yaml"));
    assert_eq!(
        watched,
        expected.iter().copied().chain(files.iter().map(String::as_str)).map(Path::new).collect::<Vec<_>>()
    );
}

#[test]
fn mistakes_in_included_files_are_shown_there() {
    let world = including("tenants.d/*.yaml")
        .file("tenants.d/a.yaml", "tenants:\n  - id: alpha\n")
        .file("tenants.d/b.yaml", "tenants:\n  - id: acme\n  - id: bravo\n    limts: {}\n");
    let errors = world.errors();
    assert!(errors.starts_with("tenants.d/b.yaml:4:5  unknown field `limts` in tenants[1]\n"), "{errors}");
    assert!(errors.contains("did you mean `limits`?"), "{errors}");
    let world = including("t.yaml").file("t.yaml", "tenants:\n  - id: acme\n");
    assert!(world.errors().starts_with("t.yaml:2:9  tenants[0].id: `acme` is there already (gateway.yaml:14)"));
}

#[test]
fn an_included_file_may_hold_lists_only() {
    for (text, message) in [
        ("server: {threads: 1}\n", "t.yaml:1:1  `server` cannot stand in an included file"),
        ("tenant: []\n", "did you mean `tenants`?"),
        ("- id: x\n", "t.yaml:1:1  a file is a mapping, not a list"),
        ("tenants: {id: x}\n", "t.yaml:1:10  "),
    ] {
        let errors = including("t.yaml").file("t.yaml", text).errors();
        assert!(errors.contains(message), "{text} {errors}");
    }
}

#[test]
fn a273_cyclic_includes_are_refused() {
    let errors = including("gateway.yaml").errors();
    assert!(errors.contains("gateway.yaml → gateway.yaml"), "{errors}");
    let world =
        including("a/x.yaml").file("a/x.yaml", "include: [y.yaml]").file("a/y.yaml", "include: [../a/./x.yaml]");
    let errors = world.errors();
    assert!(errors.starts_with("a/y.yaml:1:11  "), "{errors}");
    assert!(errors.contains("x.yaml → y.yaml → x.yaml"), "{errors}");
    let errors = including("'*.yaml'").errors();
    assert!(errors.contains("includes itself"), "{errors}");
}

#[test]
fn a_file_included_twice_is_refused() {
    let errors = including("t.yaml, ./t.yaml").file("t.yaml", "tenants: []").errors();
    assert!(errors.contains("is included twice") && errors.contains("also as `t.yaml`"), "{errors}");
}

#[test]
fn a273_includes_that_go_too_deep_are_refused() {
    let chain = |length: usize| {
        let mut world = including("f0.yaml");
        for n in 0..length {
            world = world.file(&format!("f{n}.yaml"), format!("include: [f{}.yaml]", n + 1));
        }
        world.file(&format!("f{length}.yaml"), "tenants: []")
    };
    assert!(chain(MAX_DEPTH - 1).check().is_ok());
    let errors = chain(MAX_DEPTH).errors();
    assert!(
        errors.starts_with(&format!("f{}.yaml:1:11  files include each other more than 8 deep", MAX_DEPTH - 1)),
        "{errors}"
    );
}

#[test]
fn includes_that_are_too_large_together_are_refused() {
    let mut world = including("'t/*.yaml'");
    for n in 0..33 {
        world = world.file(&format!("t/{n:02}.yaml"), vec![b'#'; MAX_FILE]);
    }
    let errors = world.errors();
    assert!(errors.contains("all files together are larger than 32 MiB"), "{errors}");
}

#[test]
fn an_include_that_names_no_file_is_refused_but_a_pattern_may_match_none() {
    assert!(including("'none.d/*.yaml'").check().is_ok());
    let errors = including("none.yaml").errors();
    assert!(errors.contains("`none.yaml` cannot be read"), "{errors}");
    assert!(including("'*/a.yaml'").errors().contains("only in the last part"));
    assert!(including("'${env:X}'").env("X", "hidden").errors().contains("nothing can be put into `include`"));
}

/// [`SMALL`] with `value` as a header that is sent to the upstream.
fn with_header(value: &str) -> Memory {
    Memory::new(small_with("[http://127.0.0.1:7001]", &format!("[http://127.0.0.1:7001], headers: {{x-key: {value}}}")))
}

fn header(world: &Memory) -> String {
    let plan = world.check().unwrap_or_else(|error| panic!("{error}")).plan;
    plan.upstreams["erp"].headers[0].1.expose().to_owned()
}

#[test]
fn variables_and_files_are_put_in_once_and_as_text() {
    let env = |value: &str| with_header(r#""<${env:A}>""#).env("A", value);
    assert_eq!(header(&env("plain")), "<plain>");
    assert_eq!(header(&env("")), "<>");
    // Neither structure nor further references.
    assert_eq!(header(&env("a: b, c}")), "<a: b, c}>");
    assert_eq!(header(&env("${env:A} $$ ${file:x}")), "<${env:A} $$ ${file:x}>");
    let file = |bytes: &str| with_header("'${file:secrets/a}'").file("secrets/a", bytes);
    assert_eq!(header(&file("s3cret\n")), "s3cret");
    assert_eq!(header(&file("s3cret\r\n")), "s3cret");
    assert_eq!(header(&with_header("'$$ $x $${env:A} $$$$'")), "$ $x ${env:A} $$");
    let world = Memory::new(small_with("127.0.0.1:8080", "'127.0.0.1:${env:PORT}'")).env("PORT", "9000");
    assert_eq!(world.check().unwrap().plan.listeners[0].address.port(), 9000);
}

#[test]
fn numbers_and_booleans_can_be_put_in() {
    let world = |threads: &str| {
        let server = "server: {threads: '${env:N}', access_log: '${env:B}', drain: '${env:D}'}";
        Memory::new(format!("{SMALL}{server}\n")).env("N", threads).env("B", "false").env("D", "5s")
    };
    let plan = world("7").check().unwrap_or_else(|error| panic!("{error}")).plan;
    assert_eq!((plan.server.threads, plan.server.access_log, plan.server.drain.as_secs()), (7, false, 5));
    let errors = world("hunter2").errors();
    assert!(errors.contains("server.threads: a number belongs here") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn what_cannot_be_put_in_is_refused_with_its_place() {
    for (value, message) in [
        ("'${env:NONE}'", "the environment variable `NONE` is not set"),
        ("'${file:none}'", "the file `none` cannot be read: no such file"),
        ("'${file:large}'", "the file `large` is larger than 64 KiB"),
        ("'${file:binary}'", "the file `binary` is not UTF-8 text"),
        ("'${NONE}'", "did you mean `${env:NONE}`?"),
        ("'${evn:NONE}'", "did you mean `env`?"),
        ("'${env:}'", "can be put in"),
        ("'${env:NONE'", "has no `}`"),
    ] {
        let world = with_header(value).file("large", vec![b'x'; MAX_SUBSTITUTED_FILE + 1]).file("binary", [0xff, 0xfe]);
        let errors = world.errors();
        assert!(errors.starts_with("gateway.yaml:7:70  upstreams[0].headers.x-key: "), "{errors}");
        assert!(errors.contains(message), "{errors}");
    }
    assert!(with_header("'${file:largest}'").file("largest", vec![b'x'; MAX_SUBSTITUTED_FILE]).check().is_ok());
}

#[test]
fn all_that_is_put_in_together_is_bounded() {
    let headers: Vec<String> = (0..300).map(|n| format!("x-{n}: '${{file:large}}'")).collect();
    let text =
        small_with("[http://127.0.0.1:7001]", &format!("[http://127.0.0.1:7001], headers: {{{}}}", headers.join(", ")));
    let errors = Memory::new(text).file("large", vec![b'x'; MAX_SUBSTITUTED_FILE]).errors();
    assert!(errors.contains("more than 16 MiB are put in"), "{}", &errors[..200]);
}

/// Wherever a secret is put in, and whatever is wrong with it there, no message shows it.
#[test]
fn a278_no_error_shows_what_was_put_in() {
    let secret = "hunter2zz";
    let mut places = 0;
    let lines: Vec<&str> = SMALL.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        for (at, _) in line.match_indices([' ', '[']) {
            let rest = &line[at + 1..];
            let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
            let value = &rest[..end];
            if value.is_empty() || value.contains([':', '{', '[', '-']) && !value.starts_with("http") {
                continue;
            }
            let changed = format!("{}'${{env:S}}'{}", &line[..=at], &rest[end..]);
            let mut all = lines.clone();
            all[n] = &changed;
            let world = Memory::new(all.join("\n")).env("S", secret);
            if let Err(error) = world.check() {
                assert!(!error.to_string().contains("hunter2"), "{error}");
                assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
                places += 1;
            }
        }
    }
    assert!(places > 10, "{places}");
}

#[test]
fn a278_secrets_that_are_written_out_are_masked_in_excerpts() {
    let text = small_with(
        "[http://127.0.0.1:7001]",
        "[http://127.0.0.1:7001], headers: {authorization: \"Bearer hunter2\"}, retries: many",
    );
    let errors = Memory::new(text).errors();
    assert!(errors.contains("upstreams[0].retries") && errors.contains("authorization: ••••"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    let multi = "{id: acme, config: {a: \"hunter1\n    hunter2\n    hunter3\"}, plugins: {oders: x}}";
    let errors = Memory::new(small_with("{id: acme, plugins: {orders: acme-orders}}", multi)).errors();
    assert!(errors.contains("tenants[0].plugins.oders") && !errors.contains("hunter"), "{errors}");
}

#[test]
fn a278_a_line_that_is_no_yaml_shows_no_value() {
    for broken in ["authorization: \"Bearer hunter2\" x", "a: {b: hunter2", "\thunter2", "a: 'hunter2"] {
        let errors = Memory::new(format!("{SMALL}{broken}\n")).errors();
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    let errors = Memory::new(format!("{SMALL}server: {{a: b, c: d}} x\n")).errors();
    assert!(errors.contains("│ server: {•: •, •: •} •"), "{errors}");
}

#[test]
fn no_text_whatever_makes_the_check_panic() {
    use proptest::prelude::*;
    let splice = (0..super::super::EXAMPLE.len(), 0..40usize, "[ \\t\\n\\[\\]{}:,'\"&*!|>$#a0é\u{0}\u{7f}-]{0,12}");
    proptest!(ProptestConfig::with_cases(300), |(splices in prop::collection::vec(splice, 1..6))| {
        let mut text: Vec<char> = super::super::EXAMPLE.chars().collect();
        for (at, remove, with) in splices {
            let at = at.min(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, with.chars());
        }
        if let Err(error) = Memory::new(text.into_iter().collect::<String>()).check() {
            prop_assert!(!error.problems.is_empty());
            let shown = error.to_string();
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown);
        }
    });
}

#[test]
fn a278_the_resolved_plan_and_its_debug_form_show_no_secret() {
    let text = small_with("{id: acme, ", "{id: acme, config: {key: '${env:S}'}, ");
    let plan = Memory::new(text).env("S", "hunter2").check().unwrap().plan;
    assert_eq!(plan.tenants["acme"].config["key"].expose(), "hunter2");
    assert!(!plan.resolved.to_string().contains("hunter2"));
    assert!(!format!("{plan:?}").contains("hunter2"));
}

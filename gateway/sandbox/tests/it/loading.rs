//! What is refused at the door, with which code, and what becomes of artefacts (catalogue 2F).

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluis_model::plan::Grant;
use sluis_sandbox::{LoadError, Plugin, Sandbox, WorkerCommand};

use crate::support::*;

/// Components that Sluis would run export an instance of this name; an empty one gets a text as far as the worker.
const HOOK: &str = r#"(instance $hook) (export "sluis:plugin/on-request@1.0.0" (instance $hook))"#;

async fn refused(house: &House, bytes: &[u8]) -> LoadError {
    let refused = house.load_bytes("refused.wasm", bytes, &ALL).await.unwrap_err();
    assert!(refused.to_string().len() < 2_048, "{refused}");
    assert!(!refused.to_string().contains(|c: char| c.is_control()), "{refused}");
    refused
}

async fn code(house: &House, text: &str) -> &'static str {
    refused(house, &wat::parse_str(text).unwrap()).await.code()
}

/// Files of the artefact store, but for its key.
fn kept(house: &House) -> Vec<PathBuf> {
    let files = std::fs::read_dir(house.artefacts()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e != "key")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a148_what_is_no_component_is_refused() {
    let house = House::new();
    let good = component("request", &guest("echo"));
    let truncated = &good[..good.len() / 2];
    let mut wrong_version = good.clone();
    wrong_version[4] = 0x0e;
    for bytes in
        [b"", &b"(component)"[..], b"\x7fELF\x02\x01\x01\0", b"MZ\x90\0", b"PK\x03\x04", truncated, &wrong_version]
    {
        assert_eq!(refused(&house, bytes).await.code(), "not-a-component");
    }
    assert!(kept(&house).is_empty());
    let missing = house.sandbox.load(Path::new("/nonexistent/a.wasm"), &[]).await.unwrap_err();
    assert_eq!(missing.code(), "unreadable");
    assert_eq!(house.sandbox.load(Path::new("/dev/zero"), &[]).await.unwrap_err().code(), "unreadable");
    assert_eq!(house.sandbox.load(house.dir.path(), &[]).await.unwrap_err().code(), "unreadable");
}

#[tokio::test]
async fn a149_what_is_of_another_world_is_refused() {
    let house = House::new();
    for text in [
        "(module)",
        "(component)",
        r#"(component (instance $i) (export "sluis:plugin/on-request@2.0.0" (instance $i)))"#,
        // The interface without its function.
        &format!("(component {HOOK})"),
        // The function with another signature.
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $hook (export "on-request" (func $f)))
            (export "sluis:plugin/on-request@1.0.0" (instance $hook)))"#,
    ] {
        assert_eq!(code(&house, text).await, "wrong-world", "{text}");
    }
}

#[tokio::test]
async fn a150_a_compiled_artefact_is_refused() {
    let house = House::new();
    house.guest("echo").await;
    let artefact = kept(&house).into_iter().find(|path| path.extension().is_some_and(|e| e == "cwasm")).unwrap();
    let refused = refused(&house, &std::fs::read(artefact).unwrap()).await;
    assert!(matches!(&refused, LoadError::NotAComponent(why) if why.contains("artefact")), "{refused}");
}

#[tokio::test]
async fn a151_a_byte_too_many_is_too_large() {
    let bytes = component("request", &guest("echo"));
    let exact = House::with(|settings| settings.component_bytes = bytes.len());
    assert!(exact.load_bytes("a.wasm", &bytes, &ALL).await.is_ok());
    let short = House::with(|settings| settings.component_bytes = bytes.len() - 1);
    assert_eq!(refused(&short, &bytes).await, LoadError::TooLarge(bytes.len() - 1));
}

#[tokio::test]
async fn a152_imports_that_are_not_offered_are_named() {
    let house = House::new();
    let imports = r#"(import "wasi:filesystem/types@0.2.6" (instance)) (import "wasi:http/types@0.2.0" (instance))"#;
    let text = format!("(component {imports} {HOOK})");
    let expected = ["wasi:filesystem/types@0.2.6", "wasi:http/types@0.2.0"].map(String::from).to_vec();
    assert_eq!(refused(&house, &wat::parse_str(text).unwrap()).await, LoadError::UndeclaredCapability(expected));
    // Offered interfaces, with a function that is not, or is another.
    for (interface, function) in [
        ("wasi:io/poll@0.2.6", r#"(export "sleep" (func))"#),
        ("sluis:plugin/log@1.0.0", r#"(export "write" (func (param "level" u32)))"#),
        ("wasi:random/random@0.2.0", r#"(export "get-random-u64" (func (result u32)))"#),
    ] {
        let text = format!(r#"(component (import "{interface}" (instance {function})) {HOOK})"#);
        let refused = refused(&house, &wat::parse_str(text).unwrap()).await;
        let LoadError::UndeclaredCapability(names) = &refused else { panic!("{refused}") };
        assert!(names[0].contains(interface), "{names:?}");
    }
    // The right name, of something that is no interface.
    let text = format!(r#"(component (import "sluis:plugin/types@1.0.0" (core module)) {HOOK})"#);
    assert_eq!(code(&house, &text).await, "undeclared-capability");
}

#[tokio::test]
async fn a153_imports_without_a_grant_are_named_every_time() {
    let house = House::new();
    let bytes = component("request", &guest("capabilities"));
    let load = async |grants: &[Grant]| house.load_bytes("a.wasm", &bytes, grants).await;
    let held = load(&ALL).await.unwrap();
    // Loaded already for one tenant; still refused for the next.
    let refused = load(&[Grant::Config]).await.unwrap_err();
    assert_eq!(refused, LoadError::CapabilityNotGranted(vec!["sluis:plugin/log@1.0.0".into()]));
    assert_eq!(refused.code(), "capability-not-granted");
    assert_eq!(load(&[]).await.unwrap_err().code(), "capability-not-granted");
    drop(held);
}

#[tokio::test]
async fn a154_a155_a156_ceilings_hold_in_the_worker() {
    let house = House::new();
    let many = "(func)".repeat(20_001);
    assert_eq!(code(&house, &format!("(component (core module {many}) {HOOK})")).await, "too-complex");
    let deep = format!("{}{}", "(block ".repeat(2_000), ")".repeat(2_000));
    assert_eq!(code(&house, &format!("(component (core module (func {deep})) {HOOK})")).await, "too-complex");
}

#[tokio::test]
async fn a158_a_slow_compilation_is_ended() {
    let bomb = bomb(900);
    // By the wall's clock, then by the worker's own limit on CPU time (one second, of two by the wall's clock).
    for timeout in [Duration::from_millis(20), Duration::from_secs(1)] {
        let house = House::with(|settings| settings.compile_timeout = timeout);
        let begun = Instant::now();
        assert_eq!(refused(&house, &bomb).await, LoadError::CompileTimeout, "{timeout:?}");
        assert!(begun.elapsed() < timeout * 2 + Duration::from_secs(5));
        assert!(kept(&house).is_empty());
    }
}

/// A component of one function under every ceiling that takes an optimising compiler a quarter of a minute, or a
/// gigabyte: thousands of variables, all changed in all of the loops (`depth` of them in one another, or as many in a
/// row as fit).
fn bomb(depth: usize) -> Vec<u8> {
    const VARIABLES: usize = 4_000;
    let mut state = 1_usize;
    let mut variable = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % VARIABLES
    };
    let (rounds, steps) = if depth == 0 { (25_000, 1) } else { (depth, 40) };
    let mut body = String::new();
    for _ in 0..rounds {
        body.push_str("loop ");
        for _ in 0..steps {
            let (a, b, c) = (variable(), variable(), variable());
            body.push_str(&format!("local.get {a} local.get {b} i64.add local.set {c} "));
        }
        body.push_str(&format!("local.get {} i32.wrap_i64 br_if 0 ", variable()));
        body.push_str(if depth == 0 { "end " } else { "" });
    }
    body.push_str(&"end ".repeat(depth));
    let locals = "i64 ".repeat(VARIABLES);
    let function = format!("(func (result i64) (local {locals}) {body} local.get 0)");
    wat::parse_str(format!("(component (core module {function}) {HOOK})")).unwrap()
}

#[tokio::test]
async fn a159_a_compilation_without_memory_is_ended() {
    let bomb = bomb(0);
    // Less than the process has already, enough to begin, and enough for a component that is no bomb.
    for memory in [1 << 20, 8 << 20, 128 << 20] {
        let house = House::with(|settings| settings.compile_memory = memory);
        assert_eq!(refused(&house, &bomb).await, LoadError::CompileMemory, "{memory}");
        assert!(kept(&house).is_empty());
    }
    let house = House::with(|settings| settings.compile_memory = 128 << 20);
    house.guest("echo").await;
}

#[tokio::test]
async fn a160_a_worker_that_dies_or_talks_nonsense_is_survived() {
    let echo = component("request", &guest("echo"));
    for (script, expected) in [
        ("kill -SEGV $$", "compile-crash"),
        ("kill -ILL $$", "compile-crash"),
        ("exit 1", "compile-crash"),
        ("exit 0", "compile-crash"),
        ("echo 'error\tforged' >&2; exit 3", "compile-crash"),
        ("cat >/dev/null; printf 'too-complex\\tforged\\033[2J\\n' >&2; exit 3", "too-complex"),
        ("cat >/dev/null; echo no artefact at all", "does-not-fit"),
        ("cat", "does-not-fit"),
    ] {
        let house = House::with(|settings| {
            settings.worker = WorkerCommand { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()] };
        });
        assert_eq!(refused(&house, &echo).await.code(), expected, "{script}");
    }
    let house = House::with(|settings| settings.worker.program = "/nonexistent".into());
    assert_eq!(refused(&house, &echo).await.code(), "compile-crash");
}

#[tokio::test]
async fn a161_what_does_not_fit_into_a_slot_is_refused() {
    let house = House::new();
    let with = |items: &str| {
        let text = module("", items, &respond("(i32.const 200)"));
        text.replace(
            "(memory (export \"memory\") 2)",
            if items.contains("(memory") { "" } else { "(memory (export \"memory\") 2)" },
        )
    };
    for items in [
        r#"(memory (export "memory") 1025)"#,
        r#"(memory (export "memory") 65536)"#,
        "(table 10001 funcref)",
        "(table 9999999 funcref)",
        "(table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)",
    ] {
        let refused = house.load(&with(items)).await.unwrap_err();
        assert_eq!(refused.code(), "does-not-fit", "{items}: {refused}");
    }
    let fits = house.load(&with(r#"(memory (export "memory") 1024) (table 10000 funcref)"#)).await.unwrap();
    assert_eq!(status(&call(&fits).await), 200);
}

#[tokio::test]
async fn a163_a_start_that_loops_or_traps_is_refused() {
    let house = House::new();
    let with = |start: &str| module("", &format!("(func $start {start}) (start $start)"), "(i32.const 0)");
    assert_eq!(house.load(&with("(loop $again (br $again))")).await.unwrap_err(), LoadError::InitTimeout);
    let trapped = house.load(&with("(unreachable)")).await.unwrap_err();
    assert!(matches!(&trapped, LoadError::InitTrap(text) if text.contains("unreachable")), "{trapped}");
    let greedy = with("(if (i32.eq (memory.grow (i32.const 5000)) (i32.const -1)) (then (unreachable)))");
    assert_eq!(house.load(&greedy).await.unwrap_err().code(), "does-not-fit");
    assert!(house.load(&with("(i32.store (i32.const 0) (i32.const 1))")).await.is_ok());
}

#[tokio::test]
async fn a164_the_same_upload_many_times_at_once_is_compiled_once() {
    let house = House::with(|settings| {
        let count = settings.artefact_dir.parent().unwrap().join("count");
        let script = format!("echo started >> {}; exec \"$0\"", count.display());
        let worker = worker().program.to_string_lossy().into_owned();
        settings.worker = WorkerCommand { program: "/bin/sh".into(), args: vec!["-c".into(), script, worker] };
    });
    let path = house.dir.path().join("echo.wasm");
    std::fs::write(&path, component("request", &guest("echo"))).unwrap();
    let loads: Vec<_> = (0..16)
        .map(|_| {
            let (sandbox, path) = (house.sandbox.clone(), path.clone());
            tokio::spawn(async move { sandbox.load(&path, &[]).await.unwrap() })
        })
        .collect();
    let mut plugins: Vec<Arc<Plugin>> = Vec::new();
    for load in loads {
        plugins.push(load.await.unwrap());
    }
    let started = std::fs::read_to_string(house.dir.path().join("count")).unwrap();
    assert_eq!(started.lines().count(), 1);
    for plugin in &plugins {
        assert!(call(plugin).await.result.is_ok());
    }
}

#[tokio::test]
async fn a166_a_part_of_an_upload_leaves_nothing() {
    let house = House::new();
    let bytes = component("request", &guest("echo"));
    for tenth in 0..10 {
        refused(&house, &bytes[..bytes.len() * tenth / 10]).await;
    }
    assert!(kept(&house).is_empty());
    assert!(house.load_bytes("a.wasm", &bytes, &[]).await.is_ok());
}

#[tokio::test]
async fn a169_megabytes_of_custom_sections_are_no_matter() {
    let house = House::new();
    let noise = format!(r#"(@custom "noise" "{}")"#, "x".repeat(5_000_000));
    let plugin = house.load(&module("", &noise, &respond("(i32.const 200)"))).await.unwrap();
    assert_eq!(status(&call(&plugin).await), 200);
}

/// A house whose artefact of `echo` is there, and the paths of artefact and MAC.
async fn house_with_artefact() -> (House, Vec<u8>, PathBuf, PathBuf) {
    let house = House::new();
    let bytes = component("request", &guest("echo"));
    house.load_bytes("a.wasm", &bytes, &[]).await.unwrap();
    let [artefact, mac] = <[PathBuf; 2]>::try_from(kept(&house)).unwrap();
    (house, bytes, artefact, mac)
}

/// The same house after a restart, with a worker that cannot compile.
async fn after_restart(house: &House, bytes: &[u8]) -> Result<(), LoadError> {
    let mut settings = settings(house.dir.path());
    settings.worker = WorkerCommand { program: "/bin/false".into(), args: Vec::new() };
    let path = house.dir.path().join("again.wasm");
    std::fs::write(&path, bytes).unwrap();
    let plugin = Sandbox::new(settings).unwrap().load(&path, &[]).await?;
    assert!(call(&plugin).await.result.is_ok());
    Ok(())
}

#[tokio::test]
async fn an_artefact_is_found_again_and_kept_from_others() {
    let (house, bytes, artefact, mac) = house_with_artefact().await;
    assert_eq!(after_restart(&house, &bytes).await, Ok(()));
    for (path, mode) in [(&artefact, 0o600), (&mac, 0o600), (&house.artefacts(), 0o700)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{path:?}");
    }
    assert_eq!(mac.metadata().unwrap().size(), 32);
}

#[tokio::test]
async fn a170_an_artefact_that_was_touched_is_never_loaded() {
    let (house, bytes, artefact, mac) = house_with_artefact().await;
    let good = std::fs::read(&artefact).unwrap();
    let good_mac = std::fs::read(&mac).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut wrong_mac = good_mac.clone();
    wrong_mac[31] ^= 0x80;
    for (what, bad, bad_mac) in [
        ("first byte", flipped(0), good_mac.clone()),
        ("middle", flipped(good.len() / 2), good_mac.clone()),
        ("last byte", flipped(good.len() - 1), good_mac.clone()),
        ("cut", good[..good.len() - 1].to_vec(), good_mac.clone()),
        ("longer", [&good[..], b"\0"].concat(), good_mac.clone()),
        ("empty", Vec::new(), good_mac.clone()),
        ("MAC flipped", good.clone(), wrong_mac),
        ("MAC cut", good.clone(), good_mac[..31].to_vec()),
        ("MAC of the plain hash", good.clone(), blake3_of(&good)),
    ] {
        std::fs::write(&artefact, bad).unwrap();
        std::fs::write(&mac, bad_mac).unwrap();
        // With a worker that fails, there is nothing to load.
        let refused = after_restart(&house, &bytes).await.unwrap_err();
        assert_eq!(refused.code(), "compile-crash", "{what}");
        // With one that works, it is compiled anew and is what it was.
        let again = Sandbox::new(settings(house.dir.path())).unwrap();
        let plugin = again.load(&house.dir.path().join("again.wasm"), &[]).await.unwrap();
        assert!(call(&plugin).await.result.is_ok(), "{what}");
        assert_eq!((std::fs::read(&artefact).unwrap(), std::fs::read(&mac).unwrap()), (good.clone(), good_mac.clone()));
    }
}

fn blake3_of(bytes: &[u8]) -> Vec<u8> {
    blake3::hash(bytes).as_bytes().to_vec()
}

#[tokio::test]
async fn a170_another_components_artefact_is_not_loaded_in_its_place() {
    let (house, bytes, artefact, mac) = house_with_artefact().await;
    let other = component("request", &module("", "", &respond("(i32.const 201)")));
    house.load_bytes("other.wasm", &other, &[]).await.unwrap();
    let others: Vec<_> = kept(&house).into_iter().filter(|path| *path != artefact && *path != mac).collect();
    // Both files of it, each ours and whole.
    std::fs::copy(&others[0], &artefact).unwrap();
    std::fs::copy(&others[1], &mac).unwrap();
    assert_eq!(after_restart(&house, &bytes).await.unwrap_err().code(), "compile-crash");
    assert_eq!(after_restart(&house, &other).await, Ok(()));
}

#[tokio::test]
async fn a170_a_new_key_makes_every_artefact_worthless() {
    let (house, bytes, ..) = house_with_artefact().await;
    std::fs::remove_file(house.artefacts().join("artefact.key")).unwrap();
    assert_eq!(after_restart(&house, &bytes).await.unwrap_err().code(), "compile-crash");
}

#[tokio::test]
async fn names_are_what_files_are_called_and_fit_for_a_log() {
    let house = House::new();
    let bytes = component("request", &guest("echo"));
    let plain = house.load_bytes("order-map.v2.wasm", &bytes, &[]).await.unwrap();
    assert_eq!(&*plain.name, "order-map.v2");
    let strange = house.load_bytes("a\u{1b}[2J\n.wasm", &bytes, &[]).await.unwrap();
    assert_eq!(&*strange.name, r"a\u{1b}[2J\n");
    assert_eq!(plain.digest(), strange.digest());
}

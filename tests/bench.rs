//! `sluis bench`: verdicts, exit codes, files, and everything that can be asked wrongly.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::eventually;
use crate::support::upstream::{Reply, Upstream, ok};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluis"));
    command.arg("bench").args(args).stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error.
fn bench(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(args).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A run of half a second and fifty requests without tokens, with more arguments.
fn run(target: &str, more: &[&str]) -> (i32, String, String) {
    let usual = ["run", "--target", target, "--rate", "100", "--duration", "500ms", "--anonymous", "--threads", "1"];
    bench(&[&usual, more].concat())
}

/// What came for the run itself, and not to find the target.
fn orders(upstream: &Upstream) -> usize {
    upstream.got().iter().filter(|got| got.line.starts_with("POST")).count()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_is_summed_up_judged_and_written() {
    let upstream = Upstream::start(|got| if got.line.contains("/refused") { refused() } else { ok(b"{}") });
    let target = format!("http://{}", upstream.address);
    let folder = tempfile::tempdir().unwrap();
    let (json, page) = (folder.path().join("run.json"), folder.path().join("run.html"));
    let files = ["--out", json.to_str().unwrap(), "--html", page.to_str().unwrap(), "--name", "steady"];
    let mix = ["--mix", "acme=70,globex=30", "--slo", "error=0,rate>=99/s", "--quiet"];
    let (_, said, _) = run(&target, &[&files[..], &mix].concat());
    for part in ["steady: 100/s for 0.5s", "sent 50", "ok 50", "p99.99", "response", "service", "globex", "SLO PASS"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let result = read(&json);
    assert_eq!(result["schema"], "sluis-bench/1");
    assert_eq!(result["recording"]["all"]["ok"], 50);
    assert_eq!(result["verdict"]["holds"], true);
    assert!(std::fs::read_to_string(&page).unwrap().contains("<svg"));
    let refused = ["--path", "/refused", "--slo", "error<10%,refused=50", "--out", json.to_str().unwrap()];
    let (code, said, why) = run(&target, &refused);
    // A machine that is too busy to send fifty requests in time has no verdict to give.
    let limited = read(&json)["generator"]["invalid"].as_array().is_some_and(|why| !why.is_empty());
    assert_eq!(code, if limited { 1 } else { 99 }, "{said}{why}");
    assert!(said.contains("SLO FAIL") && said.contains("✖ error<10%   100.00 %"), "{said}");
    assert!(said.contains("errors: 400 50") && why.contains("the pass lines are broken"), "{said}{why}");
}

fn refused() -> Reply {
    Reply::Bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec())
}

#[test]
fn what_cannot_be_asked_is_said_with_its_place_and_64() {
    let target = "http://127.0.0.1:1";
    for (more, says) in [
        (&["--slo", "p99<25ms,erorr<1%"][..], "did you mean `error`?\n  p99<25ms,erorr<1%\n           ^^^^^"),
        (&["--slo", "lost=0"], "--erp-listen"),
        (&["--slo", "tenant:hooli.p99<1s"], "no tenant `hooli`"),
        (&["--abort-on", "lost>0"], "only once the run is over"),
        (&["--abort-on", "error>9%,unsent>5"], "unsent is known only once the run is over"),
        (&["--warm-up", "3000000000000000h"], "longer than 24 h"),
        (&["--drain", "25h"], "longer than 24 h"),
        (&["--mix", "acme=-1"], "no weight"),
        (&["--connections", "0"], "at least 1"),
        (&["--timeout", "5"], "ms, s, m or h"),
        (&["--http2", "--no-keep-alive"], "cannot be used with"),
        (&["--workload", "/no/such/file.yaml"], "/no/such/file.yaml: No such file"),
    ] {
        let (code, said, why) = run(target, more);
        assert!(code == 64 && why.contains(says), "{more:?}: {code}: {said}{why}");
    }
    for (args, says) in [
        (&["run", "--target", target, "--rate", "100000000"][..], "/s"),
        (&["run", "--target", target, "--schedule", "5000 for ever"], "as in `5000/s`"),
        (&["run", "--target", "ftp://x", "--rate", "1", "--anonymous"], "neither http nor https"),
        (&["run", "--target", target], "--rate"),
        (&["scenario", "erp-dwn"], "there is no scenario `erp-dwn`; there are "),
        (&["compare", "a.json", "b.json", "--gate", "p99:-1%"], "more of p99 is worse"),
    ] {
        let (code, said, why) = bench(args);
        assert!(code == 64 && why.contains(says), "{args:?}: {code}: {said}{why}");
    }
}

#[test]
fn a_target_that_is_not_there_or_speaks_another_version_is_5() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, why) = run(&format!("http://{free}"), &[]);
    assert!(code == 5 && why.contains(&format!("nothing listens on {free}")), "{code}: {why}");
    let (code, _, why) = run("http://no-such-host.invalid", &[]);
    assert!(code == 5 && why.contains("cannot resolve `no-such-host.invalid`"), "{code}: {why}");
    let upstream = Upstream::start(|_| ok(b""));
    let (code, _, why) = run(&format!("http://{}", upstream.address), &["--http2"]);
    assert!(code == 5 && why.contains("does not speak HTTP/2: it answered `HTTP/1.1 "), "{code}: {why}");
    // What a server of HTTP/2 begins with, whatever it is asked: SETTINGS.
    let other = Upstream::start(|_| Reply::Bytes(b"\0\0\0\x04\0\0\0\0\0".to_vec()));
    let (code, _, why) = run(&format!("http://{}", other.address), &[]);
    assert!(code == 5 && why.contains("does not speak HTTP/1.1: it speaks HTTP/2"), "{code}: {why}");
}

/// `sluis bench agent` on a free port, killed when dropped.
struct Agent {
    address: String,
    /// The file of the secret.
    secret: PathBuf,
    child: Child,
}

impl Agent {
    /// Keeps its secret in this folder.
    fn start(folder: &Path) -> Self {
        let secret = folder.join("secret");
        std::fs::write(&secret, "a-secret-of-some-length").unwrap();
        let mut child = command(&["agent", "--listen", "127.0.0.1:0", "--token-file", secret.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim_end().strip_prefix("ready on ").unwrap().to_owned();
        Agent { address, secret, child }
    }

    /// What makes a run use it.
    fn args(&self) -> [&str; 4] {
        ["--agents", &self.address, "--token-file", self.secret.to_str().unwrap()]
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn agents_tell_of_a_target_that_is_not_there_and_need_no_file_of_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, said, why) = run(&format!("http://{free}"), &agent.args());
    assert!(code == 5 && why.contains(&format!("nothing listens on {free}")), "{code}: {said}{why}");

    let upstream = Upstream::start(|_| ok(b""));
    let target = format!("http://{}", upstream.address);
    // A name that means something where the run is asked for, and nothing where the agent runs.
    std::fs::write(folder.path().join("moments.csv"), "offset\n0\n0.1\n0.25\n").unwrap();
    let args = ["run", "--target", &target, "--schedule", "trace moments.csv", "--anonymous", "--threads", "1"];
    let ran = command(&[&args[..], &agent.args()].concat()).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    let why = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("sent 3 "), "{:?}: {said}{why}", ran.status);
    assert_eq!(orders(&upstream), 3);
}

#[test]
fn a_full_disk_costs_the_file_but_not_the_figures() {
    let upstream = Upstream::start(|_| ok(b""));
    let target = format!("http://{}", upstream.address);
    let (code, said, why) = run(&target, &["--out", "/dev/full"]);
    assert!(code == 1 && said.contains("sent 50"), "{code}: {said}");
    assert!(why.contains("cannot write /dev/full: No space left"), "{why}");
    // What cannot be written at all is found before anything is sent.
    let (code, said, why) = run(&target, &["--out", "/no/such/folder/run.json"]);
    assert!(
        code == 1 && said.is_empty() && why.contains("cannot write /no/such/folder/run.json"),
        "{code}: {said}{why}"
    );
}

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

fn full() -> Stdio {
    File::create("/dev/full").unwrap().into()
}

#[test]
fn an_output_that_nobody_reads_or_that_is_full_hides_no_verdict() {
    let upstream = Upstream::start(|got| if got.line.contains("/refused") { refused() } else { ok(b"{}") });
    let (target, folder) = (format!("http://{}", upstream.address), tempfile::tempdir().unwrap());
    let usual = ["run", "--target", &target, "--rate", "100", "--duration", "500ms", "--anonymous", "--threads", "1"];
    let ran = |name: &str, path: &str, output: Stdio| {
        let (json, page) = (folder.path().join(format!("{name}.json")), folder.path().join(format!("{name}.html")));
        let files = ["--out", json.to_str().unwrap(), "--html", page.to_str().unwrap()];
        let asked = ["--path", path, "--slo", "error<1%"];
        let mut command = command(&[&usual[..], &files, &asked].concat());
        let code = command.stdout(output).stderr(closed()).status().unwrap().code().unwrap();
        assert!(page.exists());
        // A machine that is too busy has no verdict to give.
        let limited = read(&json)["generator"]["invalid"].as_array().is_some_and(|why| !why.is_empty());
        (code, limited)
    };
    for (name, path, output, expected) in [
        ("broken-closed", "/refused", closed(), 99),
        ("broken-full", "/refused", full(), 99),
        ("holds-closed", "/", closed(), 0),
        ("holds-full", "/", full(), 1),
    ] {
        let (code, limited) = ran(name, path, output);
        assert_eq!(code, if limited { 1 } else { expected }, "{name}");
    }
}

#[test]
fn lines_about_latency_alone_come_with_a_warning_where_much_was_turned_away() {
    let upstream = Upstream::start(|got| if got.line.contains("/refused") { refused() } else { ok(b"{}") });
    let target = format!("http://{}", upstream.address);
    let warned = |path: &str, slo: &str| {
        let (_, _, why) = run(&target, &["--path", path, "--slo", slo]);
        why.contains("WARNING: 100.00 % were not answered as they should be")
    };
    assert!(warned("/refused", "p99<9s") && warned("/refused", "p99(ok)<9s"));
    assert!(!warned("/refused", "p99<9s,error<1%") && !warned("/", "p99<9s"));
}

#[test]
fn ctrl_c_ends_a_run_with_what_there_is() {
    let upstream = Upstream::start(|_| ok(b""));
    let target = format!("http://{}", upstream.address);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    let args = ["run", "--target", &target, "--rate", "50", "--duration", "1h", "--anonymous", "--out"];
    let child = command(&[&args[..], &[json.to_str().unwrap()]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("requests", Duration::from_secs(20), || (orders(&upstream) > 5).then_some(()));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(130) && said.contains("INTERRUPTED"), "{:?}: {said}", output.status);
    let result = read(&json);
    assert_eq!(result["ended"]["how"], "interrupted");
    assert!(result["recording"]["all"]["ok"].as_u64().unwrap() > 5);
}

#[test]
fn a_second_ctrl_c_gives_the_terminal_back() {
    // Answers would end the run at the first.
    let upstream = Upstream::start(|_| Reply::Silence);
    let run = format!("bench run --target http://{} --rate 50 --duration 1h --anonymous", upstream.address);
    let shell = format!("trap : INT; stty rows 40 cols 120; {} {run}; stty -a", env!("CARGO_BIN_EXE_sluis"));
    let mut child = Command::new("script")
        .args(["--quiet", "--flush", "--command", &shell, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut terminal) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut until = |text: &str| {
        while !String::from_utf8_lossy(&shown).contains(text) {
            let mut some = [0; 4_096];
            let read = terminal.read(&mut some).unwrap();
            assert!(read > 0, "no {text:?} in {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&some[..read]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    };
    until("Response time");
    keys.write_all(b"\x03").unwrap();
    until("ending; once more");
    keys.write_all(b"\x03").unwrap();
    let shown = until("icanon");
    let (view, after) = shown.rsplit_once("\x1b[?1049l").expect("the other screen is left");
    assert!(view.contains("\x1b[?1049h") && !after.contains("\x1b[?1049h"), "{after}");
    assert!(after.contains(" echo ") && !after.contains("-icanon"), "{after}");
    drop(keys);
    child.wait().unwrap();
}

/// A run's result, in a folder of its own.
fn ran() -> (tempfile::TempDir, String) {
    let upstream = Upstream::start(|_| ok(b""));
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json").to_str().unwrap().to_owned();
    let (code, said, why) = run(&format!("http://{}", upstream.address), &["--out", &json]);
    assert_eq!(code, 0, "{said}{why}");
    (folder, json)
}

#[test]
fn results_are_held_against_each_other_and_a_newer_schema_is_refused() {
    let (folder, json) = ran();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let page = path("two.html");
    let (code, said, why) = bench(&["compare", &json, &json, "--html", &page]);
    assert!(code == 0 && said.contains("p99.9") && said.contains("noise"), "{code}: {said}{why}");
    let (code, _, why) = bench(&["compare", &json, &json, "--gate", "p99:+10%"]);
    assert!(code == 1 && why.contains("too short for a gate"), "{code}: {why}");
    let (code, _, why) = bench(&["report", &json, &json, "--html", &page]);
    assert!(code == 0 && Path::new(&page).exists(), "{code}: {why}");
    let newer = path("newer.json");
    std::fs::write(&newer, r#"{"schema":"sluis-bench/2"}"#).unwrap();
    let (code, _, why) = bench(&["compare", &json, &newer]);
    assert!(code == 1 && why.contains("has the schema sluis-bench/2"), "{code}: {why}");
}

/// A result of twelve seconds, made of half a one; its last answer came so long after its first moment.
fn twelve_seconds(result: &Value, measured: f64, ended: &str) -> Value {
    let mut result = result.clone();
    let recording = &mut result["recording"];
    recording["seconds"] = vec![recording["seconds"][0].clone(); 12].into();
    recording["seconds_measured"] = measured.into();
    result["plan"]["seconds"] = 12.0.into();
    result["ended"]["how"] = ended.into();
    result["generator"]["invalid"] = Value::Array(Vec::new());
    result
}

#[test]
fn a_gate_breaks_for_a_queue_that_grew_and_judges_no_part_of_a_run() {
    let (folder, json) = ran();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let page = path("two.html");
    let result = read(Path::new(&json));
    for (name, measured, ended) in [("one", 12.0, "complete"), ("slow", 20.0, "complete"), ("cut", 20.0, "interrupted")]
    {
        std::fs::write(path(name), twelve_seconds(&result, measured, ended).to_string()).unwrap();
    }
    let compared = |after: &str, output: Stdio| {
        let args = ["compare", &path("one"), &path(after), "--gate", "rate:-5%", "--html", &page];
        command(&args).stdout(output).output().unwrap()
    };
    assert_eq!(compared("one", Stdio::piped()).status.code(), Some(0));
    for output in [Stdio::piped(), closed(), full()] {
        assert_eq!(compared("slow", output).status.code(), Some(99));
        std::fs::remove_file(&page).unwrap();
    }
    let cut = compared("cut", Stdio::piped());
    let why = String::from_utf8(cut.stderr).unwrap();
    assert!(cut.status.code() == Some(1) && why.contains("a run did not come to its end"), "{:?}: {why}", cut.status);
}

#[test]
fn a_search_whose_long_look_cannot_be_keeps_the_others_whoever_reads_it() {
    let upstream = Upstream::start(|_| ok(b""));
    let target = format!("http://{}", upstream.address);
    let folder = tempfile::tempdir().unwrap();
    // Twelve hours at this rate are more orders than the stand-in has room for, which a look of a moment is not.
    let usual = ["saturate", "--target", &target, "--anonymous", "--threads", "1", "--slo", "max<20s,error=0"];
    let looks = ["--start", "400", "--highest", "400", "--probe", "300ms", "--sustain", "12h"];
    let erp = ["--erp-listen", "127.0.0.1:0", "--drain", "0s", "--out"];
    let mut codes = Vec::new();
    for (name, output) in [("read.json", Stdio::piped as fn() -> Stdio), ("unread.json", closed)] {
        let json = folder.path().join(name);
        let args = [&usual[..], &looks, &erp, &[json.to_str().unwrap()]].concat();
        let ran = command(&args).stdout(output()).stderr(output()).output().unwrap();
        let found = read(&json);
        let (how, said) = (found["outcome"]["how"].as_str().unwrap(), String::from_utf8(ran.stdout).unwrap());
        assert!(!found["probes"].as_array().unwrap().is_empty());
        // A busy machine may make the generator the limit before.
        if how == "failed" {
            assert_eq!((&found["outcome"]["rate"], &found["outcome"]["held"]), (&400.0.into(), &400.0.into()));
            let tells = "400/s could not be looked at (17280000 requests, warm-up and all, are too many";
            assert!(name == "unread.json" || said.contains(tells), "{said}");
        } else {
            assert_eq!(how, "generator");
        }
        codes.push(ran.status.code());
    }
    assert_eq!(codes, [Some(1); 2]);
}

#[test]
fn a_search_tells_every_look_and_what_it_found() {
    let upstream = Upstream::start(|_| ok(b""));
    let target = format!("http://{}", upstream.address);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("found.json");
    let args = ["saturate", "--target", &target, "--anonymous", "--threads", "1", "--slo", "max<20s,error=0", "--out"];
    let rates = ["--start", "20", "--highest", "40", "--probe", "300ms", "--sustain", "400ms"];
    let (code, said, why) = bench(&[&args[..], &[json.to_str().unwrap()], &rates].concat());
    let found = read(&json);
    assert_eq!(found["schema"], "sluis-bench-saturate/1");
    // A busy machine may make the generator the limit; that is told, too.
    match found["outcome"]["how"].as_str().unwrap() {
        "unbroken" => assert!(code == 0 && said.contains("sustained 40/s") && why.contains("sustain "), "{said}{why}"),
        how => assert!(how == "generator" && code == 1, "{how}: {code}: {said}{why}"),
    }
    assert!(!found["probes"].as_array().unwrap().is_empty());
}

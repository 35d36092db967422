//! `sluis bench`: verdicts, exit codes, files, and everything that can be asked wrongly.

use std::io::{BufRead, BufReader};
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
    assert!(code == 5 && why.contains("does not speak"), "{code}: {why}");
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
    assert_eq!(upstream.got().len(), 3);
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
    eventually("requests", Duration::from_secs(20), || (upstream.got().len() > 5).then_some(()));
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
fn results_are_held_against_each_other_and_a_newer_schema_is_refused() {
    let upstream = Upstream::start(|_| ok(b""));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, page) = (path("run.json"), path("two.html"));
    let (code, said, why) = run(&format!("http://{}", upstream.address), &["--out", &json]);
    assert_eq!(code, 0, "{said}{why}");
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

//! The compile worker as a program of its own, for the tests of this crate; the product has it as a hidden subcommand.

fn main() -> std::process::ExitCode {
    sluis_sandbox::compile_worker()
}

#!/bin/sh
# Builds the release program by a profile of its own work (profile-guided optimisation): once with counters in it, gives
# that the work of `train`, and builds again by what it counted. What comes out is target/pgo/release/sluis.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')
tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
target=$(pwd)/target/pgo
profile=$target/profile
if [ ! -x "$tools/llvm-profdata" ]; then
    rustup component add llvm-tools
fi

echo '== the program with counters' >&2
rm -rf "$profile"
mkdir -p "$profile"
# `--target` keeps the counters out of build scripts and macros. Neither link-time optimisation nor line tables change
# what is counted.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 RUSTFLAGS="-Cprofile-generate=$profile" \
    "$cargo" build --locked --release --target "$host" --target-dir "$target/counting" --bin sluis

echo '== its work' >&2
plugins/build.sh >/dev/null
# The compile worker may write no file, and would die of writing its profile; this way it only fails to.
trap '' XFSZ
"$cargo" run --locked --release --target-dir "$target/train" --package sluis-bench --bin train -- \
    --sluis "$target/counting/$host/release/sluis"
"$tools/llvm-profdata" merge -o "$target/sluis.profdata" "$profile"

echo '== the program by its profile' >&2
RUSTFLAGS="-Cprofile-use=$target/sluis.profdata" \
    "$cargo" build --locked --release --target "$host" --target-dir "$target/built" --bin sluis
mkdir -p "$target/release"
cp "$target/built/$host/release/sluis" "$target/release/sluis"
echo "$target/release/sluis"

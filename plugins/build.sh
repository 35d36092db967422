#!/bin/sh
# Builds every example to dist/NAME.wasm and lists what each weighs, imports and exports.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
# Panics name files of dependencies: without the folder of whoever built it, which is nobody's business and would make
# the same source another component on every machine.
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
cargo build --locked --quiet --release --target wasm32-wasip2 --workspace --exclude inspect \
    --config "target.wasm32-wasip2.rustflags = ['--remap-path-prefix=$registry=registry']"
mkdir -p dist
for example in examples/*/; do
    name=$(basename "$example").wasm
    built=$target/wasm32-wasip2/release/$(echo "$name" | tr - _)
    # A file that did not change keeps its time: whoever watches the folder has nothing to do.
    cmp -s "$built" "dist/$name" && continue
    cp "$built" "dist/.$name.new"
    mv "dist/.$name.new" "dist/$name"
done
cargo run --locked --quiet --package inspect -- --std panics dist/*.wasm

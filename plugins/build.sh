#!/bin/sh
# Builds every example to dist/NAME.wasm and lists what each weighs, imports and exports. Those in Rust are members of
# this workspace; those with a plugin.yaml are built by `sluis plugin build`, as their authors would: SLUIS names it.
set -eu
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-target}
mkdir -p dist

# A file that did not change keeps its time: whoever watches the folder has nothing to do.
put() {
    cmp -s "$1" "dist/$2.wasm" && return
    cp "$1" "dist/.$2.wasm.new"
    mv "dist/.$2.wasm.new" "dist/$2.wasm"
}

# Panics name files of dependencies: without the folder of whoever built it, which is nobody's business and would make
# the same source another component on every machine.
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
cargo build --locked --quiet --release --target wasm32-wasip2 --workspace --exclude inspect \
    --config "target.wasm32-wasip2.rustflags = ['--remap-path-prefix=$registry=registry']"
for manifest in examples/*/Cargo.toml; do
    name=$(basename "$(dirname "$manifest")")
    put "$target/wasm32-wasip2/release/$(echo "$name" | tr - _).wasm" "$name"
done

sdk() {
    case $1 in
        c) echo c ;;
        javascript) echo javascript ;;
        python) echo python/sluis ;;
    esac
}

# Where an SDK goes in a plugin's folder.
vendor() {
    case $1 in
        c) echo vendor ;;
        *) echo vendor/sluis ;;
    esac
}

sluis=${SLUIS:-}
for built in ../target/release/sluis ../target/debug/sluis; do
    [ -n "$sluis" ] || [ ! -x "$built" ] || sluis=$built
done
[ -n "$sluis" ] || { echo 'build sluis first: make build' >&2; exit 1; }

for manifest in examples/*/plugin.yaml; do
    example=$(dirname "$manifest")
    name=$(basename "$example")
    language=$(sed -n 's/^language: *//p' "$manifest")
    sdk=$(sdk "$language")
    # What builds it counts as its source.
    if [ -e "dist/$name.wasm" ] && [ -z "$(find "$example" "$sdk" ../wit tools/package-lock.json tools/requirements.txt \
        ../gateway/cli/plugin/build -type f -newer "dist/$name.wasm" -print -quit)" ]; then
        continue
    fi
    [ "$language" = c ] || tools/install.sh
    stage=$target/examples/$name
    rm -rf "$stage"
    mkdir -p "$stage/$(vendor "$language")"
    cp -rL "$example/." "$stage"
    cp -r ../wit "$stage/wit"
    cp -r "$sdk/." "$stage/$(vendor "$language")"
    for tools in node_modules .venv; do
        [ ! -d "tools/$tools" ] || ln -s "$PWD/tools/$tools" "$stage/$tools"
    done
    "$sluis" plugin build -C "$stage"
    put "$stage/dist/$name.wasm" "$name"
    touch "dist/$name.wasm"
done

cargo run --locked --quiet --package inspect -- --std panics dist/*.wasm

#!/bin/sh
# Makes a throw-away CA and a server certificate in certs/local (git ignores it): for demo and tests only.
# usage: certs/make.sh [--host NAME]… [--force]
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
for sluis in "$root/target/release/sluis" "$root/target/debug/sluis"; do
    [ -x "$sluis" ] && exec "$sluis" certs "$root/certs/local" "$@"
done
cd "$root" && exec cargo run --quiet --locked --bin sluis -- certs "$root/certs/local" "$@"

#!/bin/sh
# Installs what builds plugins in JavaScript and in Python, beside this file. Needs node, npm and python3 with venv.
set -eu
cd "$(dirname "$0")"

# Each is made anew when what it is made from changed.
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then
    # Not `npm ci`: it wants the bindings of platforms in the lock that not every registry has. What is there is held
    # against the lock's digests all the same.
    npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
    touch node_modules
fi
if [ ! -x .venv/bin/componentize-py ] || [ requirements.txt -nt .venv ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    touch .venv
fi

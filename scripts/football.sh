#!/usr/bin/env bash
# Sets up .venv-football: Google Research Football, built from source, for the football tasks.
# Its engine runs in processes of its own, so that its gym and numpy never meet the trainer's.
#
#   scripts/football.sh [FOLDER]      FOLDER: where to make the environment (.venv-football)
#
# PYTHON chooses the Python it is made with, one that the system's Boost.Python was built for.
# Packages come from wherever pip is configured to look.
# Running it again is cheap: nothing is done while the stamp in the environment is up to date.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
venv=$(realpath -m "${1:-$here/../.venv-football}")
python=${PYTHON:-python3}
version=2.10.2
stamp=$venv/.installed

say() { printf 'football: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

recipe=$(cksum <"$0")
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$recipe" ]; then
    exit 0
fi

[ "$(uname -s)" = Linux ] || fail "the engine is built on Linux only, not on $(uname -s)"
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
    fail "needs Python 3.10 to 3.13; choose one with PYTHON=python3.11"

# Debian packages whose command, header or library is not there.
missing=()
has_command() { command -v "$2" >/dev/null || missing+=("$1"); }
has_header() {
    printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$2" | g++ -E -x c++ - >/dev/null 2>&1 || missing+=("$1")
}
has_library() {
    printf 'int main() {}\n' | g++ -x c++ - -o /dev/null "-l$2" >/dev/null 2>&1 || missing+=("$1")
}
has_command g++ g++
has_command make make
has_command cmake cmake
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -f "$headers/Python.h" ] || missing+=(python3-dev)
has_header libgl-dev GL/gl.h
has_header libegl-dev EGL/egl.h
has_library libopengl-dev OpenGL
has_header libsdl2-dev SDL2/SDL.h
has_header libsdl2-image-dev SDL2/SDL_image.h
has_header libsdl2-ttf-dev SDL2/SDL_ttf.h
has_header libsdl2-gfx-dev SDL2/SDL2_gfxPrimitives.h
boost=boost_python$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
has_library libboost-python-dev "$boost"
has_library libboost-thread-dev boost_thread
has_library libboost-filesystem-dev boost_filesystem
has_library libboost-system-dev boost_system
if [ ${#missing[@]} -gt 0 ]; then
    others=$(cd /usr/lib && find . -name 'libboost_python3*.so' 2>/dev/null | sed 's/.*python3\([0-9]*\).*/3.\1/' | sort -u | tr '\n' ' ')
    if [ "${missing[*]}" = libboost-python-dev ] && [ -n "$others" ]; then
        fail "Boost.Python is here for Python $others(not for $("$python" -V)): choose one with PYTHON=python${others%% *}"
    fi
    fail "missing Debian packages: apt-get install -y --no-install-recommends ${missing[*]}"
fi

say "making $venv (350 MB; a few minutes of compiling)"
rm -f "$stamp"
"$python" -m venv --clear "$venv" || fail "no virtual environment could be made in $venv"
log=$venv/install.log
: >"$log"

install() {
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >>"$log" 2>&1 || {
        grep -iE '^ERROR|error:|could not find' "$log" | tail -n 3 >&2 || true
        fail "pip could not install $* (its whole output: $log)"
    }
}

# gym 0.26 breaks reset(), and what gfootball itself asks for includes a pygame that is not needed.
install 'setuptools<81' wheel psutil 'numpy>=1.26,<3' six absl-py opencv-python-headless cloudpickle gym_notices
install --no-deps --no-build-isolation gym==0.23.1
# Its build script looks for `python3` on the path, and takes as many compilers as there are CPUs.
LDFLAGS=-s PATH=$venv/bin:$PATH install --no-deps --no-build-isolation "gfootball==$version"

cd / # where no folder is called gfootball
SDL_VIDEODRIVER=dummy "$venv/bin/python" -c 'import gfootball.env, gfootball_engine' >>"$log" 2>&1 ||
    fail "it was built, but cannot be imported: $(tail -n 1 "$log") (whole output: $log)"
printf '%s\n' "$recipe" >"$stamp"
say "ready: $venv/bin/python"

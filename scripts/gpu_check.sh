#!/usr/bin/env bash
# What of QLLM runs on a machine with an NVIDIA GPU: a page in under ten minutes, without a network.
#
#   scripts/gpu_check.sh [FOLDER]     FOLDER: where page and logs go (gpu-check)
#
# QLLM      the command (.venv/bin/qllm beside this script, else qllm)
# MODEL     folder of a chat model in safetensors; without it nothing is served
# VLLM      Python of an environment that has vLLM (where qllm's own has none)
# DEVICE    cuda; cpu rehearses what a CPU can do
# Every part has a limit of time. A part whose package, model or GPU is missing is skipped with its
# reason; the exit code is 1 where a part that ran failed.
set -uo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1:-gpu-check}")
qllm=${QLLM:-$here/.venv/bin/qllm}
command -v "$qllm" > /dev/null || qllm=qllm
command -v "$qllm" > /dev/null || { echo "gpu_check: no qllm: run \`make setup\`, or set QLLM" >&2; exit 2; }
device=${DEVICE:-cuda}
task=matrix/climbing
name=gpu-check
mkdir -p "$out"
page=$out/page.md
export QLLM_HOME=$out/runs XDG_CONFIG_HOME=$out/config XDG_DATA_HOME=$out/data HF_HUB_OFFLINE=1
failed=0

row() { printf '| %s | %s | %s | %s |\n' "$@" >> "$page"; printf '%-22s %-8s %6s  %s\n' "$@"; }

# part NAME LIMIT_S COMMAND...: run a part; its last line that says something stands on the page.
part() {
    local what=$1 limit=$2 began=$SECONDS log
    log=$out/${what// /-}.log
    shift 2
    timeout --kill-after=15 "$limit" "$@" > "$log" 2>&1
    local code=$? verdict=works said
    said=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1 | tr '|' '/' | cut -c1-160)
    if [ "$code" -ne 0 ]; then
        verdict=FAILS
        failed=1
        [ "$code" -eq 124 ] && said="no end within $limit s; $said"
    fi
    row "$what" "$verdict" "$((SECONDS - began)) s" "$said"
    return "$code"
}
skip() { row "$1" skipped - "$2"; }

# Stop a job by TERM once it has saved a checkpoint newer than $1 (a file).
stopped() {
    local since=$1 code
    shift
    "$@" &
    for _ in $(seq 100); do
        sleep 1
        [ -z "$(find "$QLLM_HOME" -path '*checkpoints/*' -newer "$since" -print -quit 2> /dev/null)" ] || break
        kill -0 $! 2> /dev/null || break
    done
    kill -TERM $! 2> /dev/null
    wait $!
    code=$?
    [ "$code" -eq 143 ] || { echo "it ended with $code, not by TERM"; return 1; }
}

stop_and_resume() {
    mkdir -p "$QLLM_HOME"
    touch "$QLLM_HOME/begun"
    stopped "$QLLM_HOME/begun" "$qllm" train $task --algo qmix --seeds 0 steps=10000000 \
        checkpoint_every=2000 device="$device" || return 1
    local run
    run=$("$qllm" runs --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["run"])') || return 1
    touch "$QLLM_HOME/resumed"
    stopped "$QLLM_HOME/resumed" "$qllm" resume "$run" || return 1
    echo "run $run stopped at TERM with a checkpoint, and went on from it"
}

export said_of_speed='import json, sys
row = json.load(sys.stdin)
print("{env_steps_per_s:,.0f} steps/s, {updates_per_s:,.1f} updates/s, QMIX on {task}".format(**row))'

gpu=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null | head -n 1)
{
    echo "# What runs on this machine"
    echo
    echo "$(date -u '+%Y-%m-%d %H:%M') UTC, $("$qllm" --version), device \`$device\`${gpu:+, GPU $gpu}"
    echo
    echo '| part | verdict | took | said |'
    echo '|---|---|---|---|'
} > "$page"

if [ "$device" = cuda ] && [ -z "$gpu" ]; then
    for what in "training speed" "stop and resume" "served model" "search with handover"; do
        skip "$what" "no NVIDIA GPU: nvidia-smi finds none (DEVICE=cpu rehearses)"
    done
    echo "page: $page"
    exit 0
fi
"$qllm" doctor > "$out/doctor.log" 2>&1

export qllm device task
export -f stopped stop_and_resume
rollouts=200
[ "$device" = cuda ] || rollouts=10
part "training speed" 150 bash -c '"$qllm" bench learner --task mpe/spread-3 --algo qmix --json \
    --rollouts '"$rollouts"' device="$device" | python3 -c "$said_of_speed"'
part "stop and resume" 210 bash -c stop_and_resume

if [ -z "${MODEL:-}" ]; then
    skip "served model" "MODEL names no folder of a chat model"
    skip "search with handover" "no served model"
elif ! "${VLLM:-python3}" -c 'import vllm' 2> /dev/null; then
    skip "served model" "vLLM is not installed in ${VLLM:-python3} (VLLM=PYTHON names another)"
    skip "search with handover" "no served model"
else
    "$qllm" models add $name "$MODEL" --backend vllm --python "${VLLM:-python3}" --context 8192 \
        --device "$device" --replace > "$out/add.log" 2>&1
    if part "served model" 240 "$qllm" models check $name; then
        part "search with handover" 240 "$qllm" synth $task --coder $name device="$device" \
            synth.rounds=2 synth.candidates=2 synth.pilot_updates=50 models.handover=sleep
    else
        skip "search with handover" "the model does not answer"
    fi
    "$qllm" models stop $name > "$out/stop.log" 2>&1
fi
echo "page: $page"
exit $failed

"""Stands for the Python of a vLLM environment in tests of the life cycle: run with vLLM's command
line it serves a made-up model; run with ``-c`` it says what is installed.

It behaves as ``FAKE_VLLM`` in its environment says (JSON):
  log       written before anything else
  exit      then ends with this status
  delay_s   waits so long before it listens
  stubborn  ignores SIGTERM, and so does its child
  shared    holds shared memory
  no_sleep  answers /sleep with an error
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if __name__ != "__main__":
    raise ImportError("this is a program, not a module")

if sys.argv[1] == "-c":
    kind = "cpu" if os.path.exists(os.path.join(os.path.dirname(__file__), "on_cpu")) else "gpu"
    packages = {"vllm": "0.32.0+cpu" if kind == "cpu" else "0.32.0", "torch": "2.13.0"}
    print(json.dumps({"packages": packages, "cuda": ""}))
    raise SystemExit

words = sys.argv[1:]
mood = json.loads(os.environ.get("FAKE_VLLM", "{}"))


def option(name: str) -> str:
    return words[len(words) - words[::-1].index(name)]  # the last counts


print(json.dumps({"words": words, "environment": dict(os.environ)}), flush=True)
print(mood.get("log", ""), flush=True)
if "exit" in mood:
    raise SystemExit(mood["exit"])
time.sleep(mood.get("delay_s", 0))

# What outlives its parent unless somebody sees to it: a child in a session of its own.
code = "import signal, time\n"
if mood.get("stubborn"):
    code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(
    [sys.executable, "-IS", "-c", code + "time.sleep(600)"], start_new_session=True
)
print(f"child {child.pid}", flush=True)

if mood.get("shared"):
    from multiprocessing import shared_memory

    shared = shared_memory.SharedMemory(create=True, size=4096)
    print(f"shared {shared.name}", flush=True)

if not mood.get("stubborn"):

    def leave(*_: object) -> None:
        child.terminate()
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


class Handler(BaseHTTPRequestHandler):
    asleep = False

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {})
        elif self.path == "/v1/models":
            name = option("--served-model-name")
            self.answer(200, {"data": [{"id": name, "max_model_len": 4096}]})
        elif self.path == "/is_sleeping":
            self.answer(200, {"is_sleeping": Handler.asleep})
        elif self.path == "/metrics":
            self.answer(200, METRICS)
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if self.path.startswith("/sleep") and not mood.get("no_sleep"):
            Handler.asleep = True
            self.answer(200, {})
        elif self.path == "/wake_up":
            Handler.asleep = False
            self.answer(200, {})
        elif self.path == "/tokenize":
            self.answer(200, {"count": 5})
        elif self.path == "/v1/chat/completions":
            self.chat(body)
        else:
            self.answer(400, {})

    def chat(self, body: dict) -> None:
        """Words that follow from the seed, twenty milliseconds each."""
        if Handler.asleep:
            self.answer(500, {"error": {"message": "asleep"}})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for place in range(1, 31):
            for index in range(body["n"]):
                choice = {"index": index, "delta": {"content": f"{body['seed'] + index}-{place} "}}
                choice["finish_reason"] = "stop" if place == 30 else None
                used = {"prompt_tokens": 5, "completion_tokens": place, "total_tokens": 5 + place}
                event = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                event |= {"choices": [choice], "usage": used}
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.02)
        self.wfile.write(b"data: [DONE]\n\n")

    def answer(self, status: int, document: object) -> None:
        shown = self.headers.get("authorization")
        if shown != f"Bearer {os.environ['VLLM_API_KEY']}":
            status, document = 401, {}
        data = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


METRICS = """# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 59.0
vllm:generation_tokens_total{engine="0",model_name="m"} 1703.0
python_info{version="3.11"} 1.0
"""

server = ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler)
server.daemon_threads = True
server.serve_forever(0.05)

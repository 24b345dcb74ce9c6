"""``make demo``: the whole way on the climbing game, on a machine without any model."""

from __future__ import annotations

import shlex
import sys

from qllm.cli.main import run

COMMAND = (
    "run matrix/climbing --coder sampler --seeds 0,1,2 --steps 20000"
    " synth.rounds=2 synth.candidates=4 synth.pilot_updates=300"
)

INTRODUCTION = """\
The climbing game: two agents, three actions each, 25 steps; the best joint action pays 11 a step
(275 an episode), and one agent that strays from it costs the team 30.

1. A coder writes credit functions. Here it is the embedded sampler, a random program writer and no
   language model.
2. The sandbox runs each one caged, exports it, proves what it can and property-tests the rest.
3. Accepted functions are trained briefly with common seeds; the best is selected, or taken and
   called undecided where the seeds do not tell it from the others.
4. It trains a team with three seeds, and so does VDN, the plain sum of the agents' values.
"""


def main() -> int:
    """Run the demonstration, whose last line says where the report is; returns an exit code."""
    print(INTRODUCTION, file=sys.stderr)
    print(f"$ qllm {COMMAND}\n", file=sys.stderr, flush=True)
    return run(shlex.split(COMMAND))


if __name__ == "__main__":
    sys.exit(main())

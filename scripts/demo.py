"""``make demo``: the whole way on a climbing game, on a machine without any model."""

from __future__ import annotations

import shlex
import sys

from qllm.cli.main import run

COMMAND = (
    "run matrix/climbing-weather --coder sampler --from bench/functions/matrix/fair_weather.py"
    " --seeds 0,1,2 --steps 10000"
    " synth.rounds=2 synth.candidates=3 synth.pilot_updates=150"
)

INTRODUCTION = """\
The climbing game in two kinds of weather: two agents, three actions each, 25 steps. The best
joint action pays 12 a step in calm weather and 11 in a storm (287.5 an episode), but in a storm one
agent that strays from it costs the team up to 60. The weather is drawn anew for every step; the
state tells it, and the agents do not see it.

1. A coder writes credit functions. Here it is the embedded sampler, a random program writer and no
   language model. It does not find the idea that this game is made for, so that the search also
   starts from a function written by hand (--from), in a language model's place.
2. The sandbox runs each one caged, exports it, proves what it can and property-tests the rest.
3. Accepted functions are trained briefly with common seeds; the best is selected, or taken and
   called undecided where the seeds do not tell it from the others.
4. It trains a team with three seeds, and so does VDN, the plain sum of the agents' values, with the
   same settings.

The idea: VDN learns from all weather alike. In a storm a good choice is punished for what the
other agent did, so VDN settles for the safe action, which pays 4 or 5 a step. The function credits
the agents in calm weather, where the pay tells who earned it, and hardly at all in a storm.
"""


def main() -> int:
    """Run the demonstration, whose last line says where the report is; returns an exit code."""
    print(INTRODUCTION, file=sys.stderr)
    print(f"$ qllm {COMMAND}\n", file=sys.stderr, flush=True)
    return run(shlex.split(COMMAND))


if __name__ == "__main__":
    sys.exit(main())

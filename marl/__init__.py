"""Environments, agents, mixers, learner and trainer.

Threads of OpenMP that wait for each other spin by default. Where trainings of several threads share
cores, that costs more than nine tenths of the speed: 57 steps/s instead of 4,110 (VDN on spread-3,
two trainings with two threads each on two cores that others used as well). They sleep instead,
unless the environment says otherwise; OpenMP reads it when torch is imported.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""DISCO: a learned rule that predicts targets of its agents' outputs (`algorithm.py`)."""

from objectives.disco.algorithm import disco
from objectives.family import Family

DISCO = Family(
    disco,
    limits=dict.fromkeys(("trace_lambda", "target_rate", "moments_decay"), (0.0, 1.0)),
    baselines=("ppo",),
)

__all__ = ["DISCO", "disco"]

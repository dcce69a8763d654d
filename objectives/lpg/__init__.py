"""LPG: learned targets of policy and bootstrap vector (`algorithm.py`)."""

from objectives.family import Family
from objectives.lpg.algorithm import lpg

LPG = Family(lpg, baselines=("a2c",), starts=("initial",), picture="objectives.lpg.picture:PICTURE")

__all__ = ["LPG", "lpg"]

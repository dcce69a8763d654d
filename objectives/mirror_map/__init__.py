"""Mirror maps: policies and losses of scores by a potential, known or learned (`algorithm.py`)."""

from math import inf

from objectives.family import Export, Family
from objectives.mirror_map.algorithm import ampo

AMPO = Family(
    ampo,
    limits={"eta": (1e-2, inf), "tsallis_q": (1e-2, inf)},
    baselines=("ppo",),
    starts=("start",),
    picture="objectives.mirror_map.picture:PICTURE",
    lesson="objectives.mirror_map.lesson:LESSON",
    export=Export("mirror map"),
)

__all__ = ["AMPO", "ampo"]

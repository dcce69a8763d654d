"""Discovery of reinforcement-learning algorithms: search, judge, inspect, take away.

import discovery as d
run = d.load_run("runs/...")
"""

__distribution__ = "rl-discovery"
__all__ = ["__distribution__"]

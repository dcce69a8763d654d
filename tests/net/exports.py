"""What is exported: first means, which need no training.

OPEN's first mean does nothing, so random search replaces it by a proposal.
"""

import json
from pathlib import Path
from typing import Any

from tests.net.conditions import discovery, python

TASK = """
generations = 1
seeds = 1
selection_seeds = 1
selection_doublings = 0
agents_per_call = 2
executor = "inline"
meta = { strategy = "RandomSearch", population = 2, sigma = 0.3, answer_every = 0 }

[[tasks]]
name = "catch"
total_steps = 128
numbers = { learning_rate = 0.03, max_grad_norm = 0.7 }

[tasks.setup]
environment = "Catch-bsuite"
n_envs = 4
n_steps = 16
n_epochs = 1
n_minibatches = 2
hidden = [4]
"""

FAMILIES = {
    "drift": ("lpo", "width = 4"),
    "anchored-temporal-drift": ("lpo", "width = 4, anchored = true, temporal = true"),
    "mirror": ("ampo", "units = 6, anchored = false"),
    "normalized-temporal-mirror": ("ampo", "units = 6, anchored = false, normalized = true, temporal = true"),
    "open": ("open", 'gru_width = 4, start = "random"'),
    "anchored-open": ("open", 'gru_width = 0, anchored = true, start = "random"'),
    "drift-and-open": (
        "lpo+open",
        'lpo_width = 4, open_gru_width = 0, open_features = "raw", open_start = "random"',
    ),
    "optim4rl": ("optim4rl", ""),
    "lodo": ("lpo+lodo", "lpo_width = 4"),
}
"""Runs by name: the algorithm, and its options as in TOML. `lodo` alone has nothing to search."""

FORMATS = {
    "drift": ("jax", "purejaxrl", "rejax"),
    "anchored-temporal-drift": ("jax", "purejaxrl", "rejax"),
    "mirror": ("jax",),
    "normalized-temporal-mirror": ("jax",),
    "drift-and-open": ("jax", "optax"),
}
"""Formats of a run's parts; those of a learned optimizer are optax alone."""

NAMES = tuple(f"{family}-to-{form}" for family in FAMILIES for form in FORMATS.get(family, ("optax",)))


def begin(folder: Path) -> Path:
    """Make the runs below a folder."""
    configs, searched = [], []
    for name, (algorithm, options) in FAMILIES.items():
        to_train = algorithm == "open" or "+open" in algorithm
        (searched if to_train else configs).append(folder / f"{name}.toml")
        text = f'algorithm = "{algorithm}"\nalgorithm_options = {{ {options} }}\n{TASK}'
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    done = [python("-m", "tests.net.beginning", folder, *configs, folder=folder)]
    for config in searched:
        command = ("search", config, "--name", config.stem, "--output", folder, "--quiet")
        done.append(discovery(*command, folder=folder))
    assert not any(each.returncode for each in done), [each.stderr for each in done]
    return folder


def facts_of(folder: Path, name: str) -> Any:
    """What the file of an export computes, of runs below a folder."""
    family, form = name.rsplit("-to-", 1)
    out = folder / f"{name}.py"
    done = discovery(
        "export", folder / family, "--to", form, "--generation", "last", "--out", out, folder=folder
    )
    assert done.returncode == 0, done.stderr
    done = python("-I", Path(__file__).with_name("values.py"), out, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

"""What is searched: learning algorithms as pure maths on jax, flax and optax.

Read `objectives/base.py` first. This module imports no jax until an algorithm is built.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

__distribution__ = "rl-discovery"

FACTORIES: dict[str, str] = {
    "a2c": "objectives.known:a2c",
    "ampo": "objectives.mirror_map:ampo",
    "disco": "objectives.disco:disco",
    "dpo": "objectives.known:dpo",
    "lodo": "objectives.lodo:lodo",
    "lpg": "objectives.lpg:lpg",
    "lpo": "objectives.drift:lpo",
    "open": "objectives.learned_optimizer:open_optimizer",
    "optim4rl": "objectives.optim4rl:optim4rl",
    "policy_gradient": "objectives.known:policy_gradient",
    "ppo": "objectives.known:ppo",
    "ppo_kl": "objectives.known:ppo_kl",
    "random": "objectives.known:random_policy",
    "vsop": "objectives.known:vsop",
}
"""Names to factories, for the command line and records; nothing else looks at names."""

__all__ = ["FACTORIES", "__distribution__", "build", "factory"]


def factory(name: str) -> Callable[..., Any]:
    """The function that makes the algorithm called `name`, or "package.module:function" of your own.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    path = FACTORIES.get(name, name)
    module, separator, attribute = path.partition(":")
    if not separator:
        close = difflib.get_close_matches(name, FACTORIES, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(FACTORIES)}"
        raise ValueError(
            f'there is no algorithm named {name!r}; {hint} Your own is "package.module:function"'
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        hint = "; it must be installed, or lie on PYTHONPATH" if isinstance(error, ImportError) else ""
        raise ValueError(f"algorithm {name!r} cannot be imported: {error}{hint}") from error


def build(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Make an `Algorithm` by name, with keyword options of its factory.

    Raises:
        ValueError: for an unknown name or option, with the valid ones; and for a function of your own that
            returns something else.
    """
    make = factory(name)
    valid = inspect.signature(make).parameters
    for option in options or {}:
        if option not in valid:
            raise ValueError(
                f"algorithm {name!r} has no option {option!r}; its options are: {', '.join(valid) or 'none'}"
            )
    algorithm = make(**(options or {}))

    from objectives.base import Algorithm

    if not isinstance(algorithm, Algorithm):
        raise ValueError(
            f"algorithm {name!r} must return an objectives.base.Algorithm, got {type(algorithm).__name__}"
        )
    return algorithm

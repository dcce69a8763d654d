r"""How the operations of programs are written: in jax, which `source` reads back, and in PyTorch.

    source_of(program, spelling=TORCH)

A table has a rule for each operation that is not written like the source of its primitive.
"""

from collections.abc import Mapping
from typing import NamedTuple

from objectives.programs.primitives import COMPARISONS, LOGICAL

LOGIC, COMPARISON, SUM, OPEN, PRODUCT, SIGN, APPLICATION, ATOM, NEVER = range(9)
r"""How strongly an expression holds together. OPEN: \log\pi in LaTeX, which no factor may follow. SIGN: a
negative in Python, which binds more than a product. NEVER: always in brackets."""

ARITHMETIC = ("add", "subtract", "multiply", "divide", "negative")
OPERATORS = (*ARITHMETIC, *COMPARISONS)
"""Primitives that Python has an operator for."""


class Rule(NamedTuple):
    """How an operation is written.

    Attributes:
        level: of the result.
        least: level that each argument needs to go without brackets.
        signs: the first argument that gets brackets if it begins with a minus.
        template: with one ``{}`` per argument, if it is not that of the primitive.
    """

    level: int
    least: tuple[int, ...]
    signs: int = 3
    template: str = ""


class Spelling(NamedTuple):
    """How programs are written for a host.

    Attributes:
        rules: by operation. "both" and "either" are `LOGICAL` operations of flags, and "greater" and
            "greater_equal" are comparisons from right to left.
        constant: how a constant that has a name is written: the ``{value}``, or an array ``{like}`` the first
            input. Functions then take arrays only, so that all constants they take have names.
        alone: the same in a program that reads no input.
    """

    rules: Mapping[str, Rule]
    constant: str = "{value}"
    alone: str = "{value}"


CALL = Rule(APPLICATION, (LOGIC, LOGIC, LOGIC))
COMPARED = Rule(COMPARISON, (SUM, SUM))
_OPERATIONS = {
    "add": Rule(SUM, (SUM, PRODUCT), 1),
    "subtract": Rule(SUM, (SUM, PRODUCT), 1),
    "multiply": Rule(PRODUCT, (PRODUCT, SIGN), 1),
    "divide": Rule(PRODUCT, (PRODUCT, SIGN), 1),
    "negative": Rule(SIGN, (APPLICATION,)),
    "less": COMPARED,
    "less_equal": COMPARED,
    "greater": COMPARED._replace(template="{1} > {0}"),
    "greater_equal": COMPARED._replace(template="{1} >= {0}"),
}

JAX = Spelling(
    {
        **_OPERATIONS,
        "both": CALL._replace(template=LOGICAL["minimum"]),
        "either": CALL._replace(template=LOGICAL["maximum"]),
    }
)


def _called(**templates: str) -> dict[str, Rule]:
    return {name: CALL._replace(template=template) for name, template in templates.items()}


TORCH = Spelling(
    {
        **_OPERATIONS,
        **_called(
            both="torch.logical_and({}, {})",
            either="torch.logical_or({}, {})",
            minimum="torch.minimum({}, {})",
            maximum="torch.maximum({}, {})",
            abs="torch.abs({})",
            square="torch.square({})",
            sqrt="torch.sqrt({})",
            exp="torch.exp({})",
            expm1="torch.expm1({})",
            log="torch.log({})",
            log1p="torch.log1p({})",
            tanh="torch.tanh({})",
            sigmoid="torch.sigmoid({})",
            log_sigmoid="torch.nn.functional.logsigmoid({})",
            relu="torch.relu({})",
            sign="torch.sign({})",
            where="torch.where({}, {}, {})",
            # torch.clamp has another derivative at the limits.
            clip="torch.minimum(torch.maximum({}, {}), {})",
            cos="torch.cos({})",
            mean="torch.mean({})",
            std="torch.std({}, correction=0)",
            min="torch.amin({})",
            max="torch.amax({})",
        ),
        # torch.nn.functional.softplus is the identity above 20.
        "softplus": Rule(SIGN, (APPLICATION,), 0, "-torch.nn.functional.logsigmoid(-{})"),
        "stop_gradient": Rule(APPLICATION, (APPLICATION,), template="{}.detach()"),
    },
    "{like}.new_tensor({value})",
    "torch.tensor({value}, dtype=torch.float64)",
)

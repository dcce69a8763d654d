"""OPEN's network with a memory."""

from discovery.export.templates.cells import gru, linear, normalized


def network(weights, hidden, x):
    """(new state of the unit, o [O, n]) for features x [F, n]: unit, two normalized layers, a linear one."""
    x = hidden = gru(weights["gru"], hidden, x)
    return hidden, linear(weights["out"], normalized(weights["second"], normalized(weights["first"], x)))

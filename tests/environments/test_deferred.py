"""Modules that are loaded when they are used, and not when they are imported."""

import sys

import pytest

from environments.deferred import deferred

NAME = "xml.etree.ElementInclude"
"""A module that nothing here uses."""


@pytest.fixture
def unloaded(monkeypatch):
    import xml.etree

    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.delattr(xml.etree, "ElementInclude", raising=False)


def test_it_is_loaded_at_its_first_use(unloaded):
    with deferred(NAME):
        import xml.etree.ElementInclude as included
    assert NAME not in sys.modules
    assert included.DEFAULT_MAX_INCLUSION_DEPTH == 6
    assert included.include is sys.modules[NAME].include


def test_after_the_block_an_import_is_as_ever(unloaded):
    with deferred(NAME, "sys"):
        import sys as loaded
        import xml.etree.ElementInclude as included
    import xml.etree.ElementInclude as real

    assert loaded is sys and type(real) is not type(included)
    with pytest.raises(AttributeError, match="nothing"):
        getattr(included, "nothing")  # noqa: B009

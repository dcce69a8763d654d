"""Import a library without the modules that it draws with."""

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any


class _Deferred(types.ModuleType):
    """Stands for a module, which is imported when an attribute of it is first used."""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Within the block, `import name` does not load the module; its first use does, whenever that is.

    After the block `import name` is as ever. A module that is loaded already is left alone.
    """
    stand_ins = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]

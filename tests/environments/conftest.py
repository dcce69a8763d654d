import pytest

from environments.base import Environment
from environments.make import make


@pytest.fixture(scope="session")
def fake(request) -> Environment:
    """The environment of fake.py, by the way that users reach their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(request.config.rootpath)
        return make("tests.environments.fake:make")

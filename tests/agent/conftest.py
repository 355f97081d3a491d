import pytest
import toy

from hsrl_gym.bundle.folder import Bundle


@pytest.fixture(scope="session")
def toy_world() -> Bundle:
    return toy.toy_bundle()

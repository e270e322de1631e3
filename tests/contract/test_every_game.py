"""Every game for one player passes what its author is asked for."""

from __future__ import annotations

import pytest

from universe2.core.spec import EnvSpec
from universe2.envs.arcade import games
from universe2.testing.games import GAME_CHECKS, check_game

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("spec", games(), ids=lambda spec: spec.id)
def test_a_game_of_ours(spec: EnvSpec) -> None:
    assert len(check_game(spec.id)) == len(GAME_CHECKS)

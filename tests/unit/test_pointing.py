"""The pointing head: probabilities that add up, places found wherever they are, nothing added elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from universe2.agents.model import CHOICES, ModelConfig, Network, Observation
from universe2.agents.pointing import POINTER_AT, Cells, Pointing, points
from universe2.core.screen import ALL_LIVE, POINTER, ScreenMap

POINTED = slice(POINTER_AT, POINTER_AT + 2 * POINTER)


def observation(screens_NHW3: torch.Tensor, live: bool) -> Observation:
    count = len(screens_NHW3)
    screen_map = ALL_LIVE if live else ScreenMap(arrows=("up",))
    mask_NA = np.repeat(screen_map.action_mask()[None], count, 0)
    return Observation(
        screens_NHW3[:, None],
        torch.ones(1, 1, dtype=torch.int64),
        torch.zeros(count, 1, dtype=torch.int64),
        torch.from_numpy(mask_NA),
        torch.zeros(count, 1, 5, dtype=torch.int64),
        torch.zeros(count, 1),
        torch.ones(count, 1, dtype=torch.bool),
        torch.from_numpy(points(mask_NA)),
    )


def test_sequences_with_a_live_pointer_are_found() -> None:
    masks = [ScreenMap(arrows=("up",)).action_mask(), ALL_LIVE.action_mask(), ScreenMap().action_mask()]
    assert points(np.stack(masks)).tolist() == [1]


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (32, 96)])
def test_it_gives_probabilities_of_all_places(size: tuple[int, int]) -> None:
    grid = (size[0] // 8, size[1] // 8)
    head = Pointing(6, Cells(grid, size, 4, 8), 5)
    generator = torch.Generator().manual_seed(0)
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    cells = torch.randn(3, grid[0] * grid[1], 6, generator=generator)
    said = head(cells, torch.randn(3, 5, generator=generator)).exp()
    for part in said.split(POINTER, -1):
        assert torch.allclose(part.sum(-1), torch.ones(3), atol=0.01)
        assert (part > 0).all()


def test_at_first_no_place_is_much_likelier_than_another() -> None:
    head = Pointing(6, Cells((8, 8), (64, 64), 4, 8), 5)
    said = head(torch.randn(1, 64, 6), torch.randn(1, 5)).exp()
    assert said.min() > 0.2 / POINTER
    assert said.max() < 2.0 / POINTER


@pytest.mark.parametrize("encoder", ["patch", "impala"])
def test_without_a_live_pointer_nothing_is_added_and_no_gradient_is_missing(encoder: str) -> None:
    network = Network(ModelConfig(encoder, 4, 16))
    screens = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    output = network(observation(screens, live=False), network.initial_state(2))
    output.logits[output.logits > -torch.inf].sum().backward()
    gradients = [parameter.grad for parameter in network.pointing.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_what_is_learned_in_one_half_of_the_screen_holds_in_the_other() -> None:
    """A white square is to be pointed at. In training it is on the left only."""
    torch.manual_seed(3)
    network = Network(ModelConfig("patch", 8, 32)).requires_grad_(False)
    network.pointing.requires_grad_(True)
    generator = np.random.default_rng(0)

    def problem(count: int, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
        screens = np.full((count, 64, 64, 3), 90, np.uint8)
        places = np.stack([generator.integers(low, high, count), generator.integers(6, 58, count)], 1)
        for screen, (x, y) in zip(screens, places, strict=True):
            screen[y - 3 : y + 3, x - 3 : x + 3] = 255
        return torch.from_numpy(screens), torch.from_numpy(places)

    optimizer = torch.optim.Adam(network.pointing.parameters(), lr=0.02)
    for _ in range(150):
        screens, places = problem(32, 8, 28)
        logits = network(observation(screens, live=True), network.initial_state(32)).logits[:, 0, POINTED]
        columns, rows = logits.split(POINTER, -1)
        loss = F.cross_entropy(columns, places[:, 0]) + F.cross_entropy(rows, places[:, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    screens, places = problem(64, 36, 56)
    with torch.no_grad():
        logits = network(observation(screens, live=True), network.initial_state(64)).logits[:, 0, POINTED]
    said = torch.stack([part.argmax(-1) for part in logits.split(POINTER, -1)], -1)
    near = ((said - places).abs() <= 4).all(-1).float().mean()
    assert near > 0.7, f"{near:.2f} of the squares were found on the side that was never shown"


def test_all_choices_are_there() -> None:
    network = Network(ModelConfig("patch", 4, 16))
    output = network(
        observation(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), live=True), network.initial_state(1)
    )
    assert output.logits.shape == (1, 1, CHOICES)
    assert output.logits.isfinite().all()

"""Encoders mixed out of a few: what an instruction sees through, and how they are trained and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from universe2.agents.conditional import SHARPNESS, ConditionalEncoder
from universe2.agents.config import TrainConfig, from_table
from universe2.agents.learner import Learner
from universe2.agents.model import ImpalaEncoder, ModelConfig, Network, PatchEncoder
from universe2.agents.text import hashed_ids
from universe2.agents.train import model_sizes
from universe2.core.errors import UsageError

SIZE = (32, 32)
CONFIG = ModelConfig("patch", 4, 16, SIZE, text_dim=8, bases=3)
TEXTS = torch.stack([torch.from_numpy(hashed_ids(text)) for text in ("Catch the fruit.", "", "Run!")])


def seen(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    screen = torch.randint(0, 256, (count, *SIZE, 3), dtype=torch.uint8)
    return screen, torch.randint(-765, 766, (count, 16, 16), dtype=torch.int16)


def conditional(kind: type[PatchEncoder | ImpalaEncoder]) -> ConditionalEncoder:
    torch.manual_seed(1)
    encoder = ConditionalEncoder(kind(4, SIZE, 16), 3)
    for base in encoder.bases:
        torch.nn.init.normal_(base, std=0.1)
    return encoder


@pytest.mark.parametrize("kind", [PatchEncoder, ImpalaEncoder])
def test_each_text_sees_through_weights_of_its_own(kind: type[PatchEncoder | ImpalaEncoder]) -> None:
    """Against the same arithmetic, screen by screen."""
    encoder = conditional(kind)
    screens, motions = seen(7)
    index = torch.tensor([2, 0, 1, 0, 2, 2, 1])
    found, cells = encoder(screens, motions, TEXTS, index)
    for row, text in enumerate(index.tolist()):
        code_K = encoder.code(TEXTS[text : text + 1])[0]
        code_K = code_K * code_K.abs() ** (SHARPNESS - 1)
        code_K = code_K / code_K.norm() if text != 1 else torch.zeros(3)
        weights = {
            name: own + sum(code * base.view(own.shape) for code, base in zip(code_K, bases, strict=True))
            for (name, own), bases in zip(encoder.encoder.named_parameters(), encoder.bases, strict=True)
        }
        expected = functional_call(encoder.encoder, weights, (screens[row : row + 1], motions[row : row + 1]))
        torch.testing.assert_close(found[row : row + 1], expected[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(cells[row : row + 1], expected[1], rtol=1e-4, atol=1e-4)


def test_a_text_alone_is_seen_as_among_others() -> None:
    encoder = conditional(PatchEncoder)
    screens, motions = seen(4)
    among, _ = encoder(screens, motions, TEXTS, torch.tensor([0, 2, 2, 0]))
    alone, _ = encoder(screens[[0, 3]], motions[[0, 3]], TEXTS, torch.tensor([0, 0]))
    torch.testing.assert_close(alone, among[[0, 3]], rtol=1e-5, atol=1e-5)


def test_at_first_all_see_the_same() -> None:
    torch.manual_seed(1)
    plain = PatchEncoder(4, SIZE, 16)
    encoder = ConditionalEncoder(plain, 3)
    screens, motions = seen(3)
    found, _ = encoder(screens, motions, TEXTS, torch.tensor([2, 1, 0]))
    torch.testing.assert_close(found, plain(screens, motions)[0], rtol=1e-5, atol=1e-5)


def test_what_one_text_learns_an_orthogonal_one_does_not_see() -> None:
    """What a step of the bases for one text does to another is as much as their codes have in common."""
    encoder = conditional(PatchEncoder)
    screens, motions = seen(1)
    with torch.no_grad():
        for text, code in ((0, [1.0, 0, 0]), (2, [0, 1.0, 0])):
            ids = TEXTS[text][TEXTS[text] > 0].long()
            encoder.code.weight[ids] = torch.tensor(code)
    before = [encoder(screens, motions, TEXTS, torch.tensor([text]))[0].detach() for text in (0, 2)]
    encoder(screens, motions, TEXTS, torch.tensor([0]))[0].sum().backward()
    with torch.no_grad():
        for base in encoder.bases:
            base -= 1e-3 * base.grad
    after = [encoder(screens, motions, TEXTS, torch.tensor([text]))[0].detach() for text in (0, 2)]
    assert (after[0] - before[0]).abs().max() > 1e-3
    assert torch.equal(after[1], before[1])


def test_an_instruction_sees_through_few_bases() -> None:
    """And the gradient of its code is finite, also where there is no text."""
    torch.manual_seed(1)
    encoder = ConditionalEncoder(PatchEncoder(4, SIZE, 16), 32)
    words = [f"Do what number {number} of the tasks asks for." for number in range(40)]
    codes_UK = encoder._codes(torch.stack([torch.from_numpy(hashed_ids(text)) for text in (*words, "")]))
    parts_UK = codes_UK[:-1].square()
    torch.testing.assert_close(parts_UK.sum(1), torch.ones(40))
    assert parts_UK.sort(descending=True).values[:, :3].sum(1).mean() > 0.9
    assert not codes_UK[-1].any()
    codes_UK.sum().backward()
    assert encoder.code.weight.grad is not None
    assert encoder.code.weight.grad.isfinite().all()


def test_a_checkpoint_keeps_them_and_adapters_go_beside_them(tmp_path: Path) -> None:
    learner = Learner(CONFIG, ["a"], seed=1)
    with torch.no_grad():
        for base in learner.network.encoder.bases:  # type: ignore[union-attr]
            torch.nn.init.normal_(base, std=0.1)
    learner.save_state(tmp_path / "saved", {}).result()
    again = Learner(CONFIG, ["a"], seed=2)
    again.load_state(tmp_path / "saved").result()
    adapted = Learner(replace(CONFIG, lora_rank=2), ["a"], seed=3)
    adapted.load_weights(tmp_path / "saved").result()
    screens, motions = seen(5)
    index = torch.tensor([0, 1, 2, 1, 0])
    first, *others = (x.network.encoder(screens, motions, TEXTS, index)[0] for x in (learner, again, adapted))
    for other in others:
        torch.testing.assert_close(other, first)
    trained = {name for name, weight in adapted.network.named_parameters() if weight.requires_grad}
    assert not any(".bases." in name or ".code." in name for name in trained)
    assert any(name.startswith("encoder.") for name in trained)
    for one in (learner, again, adapted):
        one.close()


def test_adapters_change_what_is_seen() -> None:
    network = Network(replace(CONFIG, lora_rank=2))
    screens, motions = seen(2)
    index = torch.tensor([0, 2])
    before = network.encoder(screens, motions, TEXTS, index)[0]
    with torch.no_grad():
        for name, weight in network.encoder.named_parameters():
            if name.endswith(".b"):
                weight += 1.0
    assert not torch.allclose(network.encoder(screens, motions, TEXTS, index)[0], before)


def test_a_training_config_asks_for_them() -> None:
    table = {"out_dir": "x", "bases": 4, "tasks": {"arcade/Maze-v0": {}}}
    assert model_sizes(from_table(table)).bases == 4
    assert TrainConfig(tasks=from_table(table).tasks, out_dir="x").bases == 0
    with pytest.raises(UsageError, match="bases = -1"):
        from_table(table | {"bases": -1})

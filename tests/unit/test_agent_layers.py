"""The layers whose gradients are written by hand, and a batch in parts, against plain PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from universe2.agents.gru import ResettingGRU
from universe2.agents.model import ModelConfig, Network, Observation
from universe2.agents.parts import InParts
from universe2.agents.patches import PIXEL, see_patches
from universe2.core.screen import NVEC

SIZE = (32, 32)


def plain_gru(gru, x_NTD, first_NT, hidden_ND):
    outputs = []
    for x_ND, first_N in zip(x_NTD.unbind(1), first_NT.unbind(1), strict=True):
        hidden_ND = hidden_ND * ~first_N[:, None]
        gates, inner = gru.inputs(x_ND).chunk(3, -1), gru.recurrent(hidden_ND).chunk(3, -1)
        reset, update = torch.sigmoid(gates[0] + inner[0]), torch.sigmoid(gates[1] + inner[1])
        new = torch.tanh(gates[2] + reset * inner[2])
        hidden_ND = (1 - update) * new + update * hidden_ND
        outputs.append(hidden_ND)
    return torch.stack(outputs, 1), hidden_ND


def test_the_recurrence_has_the_gradients_of_its_steps():
    torch.manual_seed(0)
    gru = ResettingGRU(5, 4).double()
    x_NTD = torch.randn(3, 7, 5, dtype=torch.float64, requires_grad=True)
    hidden_ND = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    first_NT = torch.rand(3, 7) < 0.3
    weighting = torch.randn(3, 7, 4, dtype=torch.float64)
    found = []
    for run in (gru, lambda *args: plain_gru(gru, *args)):
        out_NTD, last_ND = run(x_NTD, first_NT, hidden_ND)
        loss = (out_NTD * weighting).sum() + last_ND.square().sum()
        found.append([out_NTD, last_ND, *torch.autograd.grad(loss, [x_NTD, hidden_ND, *gru.parameters()])])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_the_recurrence_in_bfloat16_keeps_its_memory_in_float32():
    torch.manual_seed(0)
    gru = ResettingGRU(16, 16)
    x_NTD, first_NT, hidden_ND = torch.randn(3, 7, 16), torch.rand(3, 7) < 0.3, torch.randn(3, 16)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out_NTD, _ = gru(x_NTD, first_NT, hidden_ND)
        assert out_NTD.dtype == torch.float32
        gradients = torch.autograd.grad(out_NTD.square().sum(), list(gru.parameters()))
        found.append([out_NTD, *gradients])
    for exact, rounded in zip(*found, strict=True):
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(exact, rounded, rtol=0.05, atol=0.05 * float(exact.detach().abs().max()))


def test_patches_have_the_gradients_of_a_plain_layer():
    torch.manual_seed(0)
    count = 70  # more than one block
    screen = torch.randint(0, 256, (count, *SIZE, 3), dtype=torch.uint8)
    motion = torch.randint(-765, 766, (count, 16, 16), dtype=torch.int16)
    weight = torch.randn(6, 52, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    colours = screen.view(count, 8, 4, 8, 12).transpose(2, 3).reshape(count, 64, 48).float() * PIXEL
    moved = motion.view(count, 8, 2, 8, 2).transpose(2, 3).reshape(count, 64, 4).float() * PIXEL
    mean = colours.mean(1)
    plain = F.relu(F.linear(torch.cat([colours - mean[:, None], moved], -1), weight, bias))
    ours, mean_B48 = see_patches(screen, motion, weight, bias)
    torch.testing.assert_close(mean_B48 * PIXEL, mean)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
    weighting = torch.randn_like(plain)
    for expected, found in zip(
        torch.autograd.grad((plain * weighting).sum(), [weight, bias]),
        torch.autograd.grad((ours * weighting).sum(), [weight, bias]),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def observation(count, times):
    torch.manual_seed(1)
    return Observation(
        torch.randint(0, 256, (count, times, *SIZE, 3), dtype=torch.uint8),
        torch.randint(0, 100, (2, 4)),
        torch.randint(0, 2, (count, times)),
        torch.rand(count, sum(NVEC)) < 0.9,
        torch.zeros(count, times, len(NVEC), dtype=torch.int64),
        torch.randn(count, times),
        torch.rand(count, times) < 0.1,
        torch.tensor([0, 3]),
    )


@pytest.mark.parametrize(("reconstruct", "bases"), [(False, 0), (True, 0), (False, 3)])
@pytest.mark.parametrize("workers", [2, 3])
def test_a_batch_in_parts_is_the_batch(workers, reconstruct, bases):
    torch.manual_seed(0)
    config = ModelConfig("patch", 4, 16, SIZE, text_dim=8, reconstruct=reconstruct, bases=bases)
    network = Network(config)
    network.text.weight.requires_grad_(False)  # not all weights need be trained
    parts = InParts(network, workers)
    obs, state = observation(5, 40), network.initial_state(5)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    found = []
    for run in (network, parts):
        output = run(obs, state)
        live = output.logits.masked_fill(~obs.mask[:, None], 0.0)
        loss = live.square().sum() + output.value_logits.square().sum() + output.state["hidden"].sum()
        if output.picture is not None:
            loss = loss + output.picture.square().sum()
        found.append([*output.state.values(), *torch.autograd.grad(loss, trained)])
    with torch.inference_mode():
        found += [[run(obs, state).value_logits] for run in (network, parts)]
    parts.close()
    for whole, ours in (*zip(*found[:2], strict=True), *zip(*found[2:], strict=True)):
        torch.testing.assert_close(
            ours, whole, rtol=1e-3, atol=1e-4 * max(1.0, float(whole.detach().abs().max()))
        )


def test_what_a_part_raises_is_raised():
    network = Network(ModelConfig("patch", 4, 16, SIZE, text_dim=8))
    parts = InParts(network, 2)
    obs = observation(4, 32)
    obs.text_index[3, 0] = 99
    with pytest.raises(IndexError, match="99"):
        parts(obs, network.initial_state(4))
    parts.close()

"""The benchmark of training on a GPU: what counts, what it aims at, and that it needs a GPU."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import closing, nullcontext
from types import SimpleNamespace

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import train_cuda
from benchmarks.train_cuda import WARM_UP, WINDOWS, Gauge, Sizes, Windows, chosen, questions, summed_up
from universe2.core.errors import TrainingError

LAGS = {"policy_lag": 1.0, "policy_lag_max": 2.0}
H200 = ["NVIDIA H200"]


@pytest.fixture
def asked():
    """Runs the script with the arguments given."""
    app = typer.Typer()
    app.command()(train_cuda.main)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def played(seconds, until=float("inf"), every=1.0, rate=100):
    """The windows of a run whose updates take ``every`` seconds, and when it ended."""
    clock, looks = [0.0], []

    def look():
        looks.append(clock[0])
        return int(rate * clock[0]), {"learning": 0.5}

    windows = Windows(seconds, until, look, lambda: clock[0])
    while windows.part_done() < 1:
        clock[0] += every
        windows.after_update(LAGS)
    return windows.found, clock[0]


def test_time_is_cut_into_windows_after_a_warm_up_that_begins_with_the_first_update():
    found, end = played(seconds=60, every=2.5)
    assert end == 2.5 + 60 * WARM_UP + 60
    assert [window["seconds"] for window in found] == [60 / WINDOWS] * WINDOWS
    assert found[0] == {"seconds": 5.0, "steps_per_second": 100.0, "learning": 0.5, **LAGS}


def test_a_run_with_updates_longer_than_a_window_has_fewer_and_one_without_time_has_none():
    assert [window["seconds"] for window in played(seconds=60, every=50.0)[0]] == [50.0, 50.0]
    assert played(seconds=60, until=8.0) == ([], 8.0)


def test_of_windows_the_median_rate_counts_and_shares_by_their_time():
    windows = [
        {"seconds": seconds, "steps_per_second": rate, "gpu_busy": busy, **LAGS, "policy_lag_max": lag}
        for seconds, rate, busy, lag in ((1.0, 10.0, 0.5, 3.0), (3.0, 30.0, 0.9, 9.0), (1.0, 90.0, 0.5, 1.0))
    ]
    assert summed_up(windows) == {
        "steps_per_second": 30.0,
        "gpu_busy": 0.74,
        "policy_lag": 1.0,
        "policy_lag_max": 9.0,
    }


def test_the_fastest_run_is_asked_about():
    runs = {
        256: {"steps_per_second": 90_000.0, "gpu_busy": 0.95},
        512: {"steps_per_second": 110_000.0, "gpu_busy": 0.85},
    }
    speed, busy = questions(Sizes(), runs, H200)
    assert "4 servers × 512 slots" in speed["question"]
    assert "NVIDIA H200" in speed["question"]
    assert (speed["ours"], speed["peer"], speed["ratio"]) == ("110,000", "100,000 to reach", 1.1)
    assert (busy["ours"], busy["peer"], busy["ratio"]) == ("0.850", "0.9 to reach", 0.944)
    assert [(row["target"], row["met"]) for row in (speed, busy)] == [("≥ 1", True), ("≥ 1", False)]


@pytest.mark.parametrize(("preset", "gpus"), [("nano", H200), ("small", ["NVIDIA A100"]), ("small", [])])
def test_another_gpu_or_network_has_no_target(preset, gpus):
    (row,) = questions(Sizes(preset=preset), {256: {"steps_per_second": 5.0}}, gpus)
    assert (row["target"], row["met"]) == ("–", None)


def test_an_update_has_a_segment_of_every_slot_unless_told_otherwise():
    config = Sizes().config(256, "cpu", ())
    assert (config.batch_steps, config.quota()) == (4 * 256 * 32, (256,) * 4)
    assert sum(task.slots for task in config.tasks) == 4 * 256
    assert Sizes(batch_steps=4096).config(256, "cpu", ()).batch_steps == 4096


def test_what_is_asked_for_replaces_what_a_rehearsal_has():
    assert (chosen(True, {"preset": None, "rollout": 8}).preset, chosen(False, {}).preset) == (
        "nano",
        "small",
    )
    assert chosen(True, {"rollout": 8}).rollout == 8


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"slots": (3,), "servers": 1}, "multiple of the 4 games"),
        ({"slots": (0,)}, "multiple of the 4 games"),
        ({"seconds": 300.0}, "fit into one call"),
        ({"seconds": 0.0}, "fit into one call"),
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"precision": "float8"}, "float8"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_starts(wrong, words):
    with pytest.raises(typer.BadParameter, match=words):
        chosen(False, wrong)


def test_a_gauge_tells_the_mean_since_the_last_call_and_what_went_wrong():
    numbers, read, lost = [0.25, 0.75], threading.Event(), threading.Event()

    def next_number():
        if numbers:
            return numbers.pop()
        read.set()
        assert lost.wait(10)
        raise OSError("the driver is gone")

    with closing(Gauge(next_number, every=0.001)) as gauge:
        assert read.wait(10)
        assert gauge.mean() == 0.5
        lost.set()
        with pytest.raises(OSError, match="the driver is gone"):
            gauge.mean()


def test_a_gauge_that_has_read_nothing_yet_reads():
    with closing(Gauge(lambda: 0.5, every=60)) as gauge:
        assert gauge.mean() == 0.5


def test_nvml_is_asked_about_the_gpu_that_pytorch_uses(monkeypatch):
    calls = []
    nvml = SimpleNamespace(
        nvmlInit=lambda: calls.append("init"),
        nvmlShutdown=lambda: calls.append("shutdown"),
        nvmlDeviceGetHandleByUUID=lambda uuid: calls.append(uuid) or "handle",
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=93),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="12-34"))
    with train_cuda.gpu_busy() as gauge:
        assert gauge.mean() == 0.93
    assert calls == ["init", "GPU-12-34", "shutdown"]


def test_without_cuda_it_says_so_in_one_line(monkeypatch, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = asked()
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "no CUDA device here, which this benchmark measures; on the CPU there is --rehearse"
    ]
    assert result.stdout == ""


def test_without_nvml_it_says_how_to_get_it(monkeypatch, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = asked()
    assert result.exit_code == 2
    assert "pip install nvidia-ml-py" in result.stderr


@pytest.fixture
def scores(monkeypatch, tmp_path):
    """Where the scores go; no server is started, and trainings take no time. Those of 4 slots fail."""

    def windows_of(config, *_):
        if config.tasks[0].slots == 4:
            raise TrainingError("lost")
        return [{"seconds": 1.0, "steps_per_second": 10.0, **LAGS}]

    monkeypatch.setattr(train_cuda, "windows_of", windows_of)
    monkeypatch.setattr(train_cuda, "local_server", lambda *_: nullcontext(SimpleNamespace(address="a:1")))
    monkeypatch.setattr(train_cuda, "gpu_busy", lambda: nullcontext(None))
    monkeypatch.setattr(train_cuda, "missing", lambda: "")
    monkeypatch.setattr(train_cuda, "SCORES", tmp_path / "scores.json")
    return tmp_path / "scores.json"


def test_a_rehearsal_writes_no_scores(scores, asked):
    result = asked("--rehearse")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["name"] == "train_cuda"
    assert not scores.exists()


def test_a_run_that_fails_leaves_the_scores_of_the_others(scores, asked):
    result = asked("--slots", "4", "--slots", "16")
    assert result.exit_code == 0, result.output
    assert result.stderr == "4 slots: TrainingError: lost\n"
    content = json.loads(scores.read_text())
    assert content == json.loads(result.stdout.splitlines()[-1])
    assert list(content["results"]) == ["4 servers × 16 slots"]
    assert content["sizes"]["slots"] == [4, 16]


def test_nothing_measured_is_an_error_and_no_score(scores, asked):
    assert isinstance(asked("--slots", "4").exception, TrainingError)
    assert not scores.exists()

"""Fifty models in one `tfapp serve`: each answers for itself, and gives its memory back."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "many_models.py"
MODELS = 50
# Weights of a model are 0.94 MB; a graph and a session take about as much.
TAKEN = 0.94 * (MODELS - 1)


@pytest.fixture(scope="module")
def many_models():
    """`benchmarks/many_models.py` as a module."""
    spec = importlib.util.spec_from_file_location("many_models", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fifty_models_answer_and_a_reload_gives_their_memory_back(
    many_models, tmp_path, monkeypatch
):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # with it, memory is kept for the next model
    layers = [many_models.Layers(seed) for seed in range(MODELS)]
    for n, model in enumerate(layers):
        model.save(tmp_path / f"m{n}" / "1")
    server = many_models.Server(tmp_path, range(MODELS))
    try:
        loaded = []
        for cycle in (1, 2):
            server.wait(range(MODELS))
            assert server.check(layers, range(MODELS)) == MODELS
            loaded.append(server.megabytes())
            server.list(range(1))
            server.wait_unloaded(cycle * (MODELS - 1))
            server.wait(range(1))
            assert server.check(layers, range(1)) == 1
            assert server.megabytes() < loaded[-1] - TAKEN
            server.list(range(MODELS))
        assert loaded[1] < loaded[0] + 15
    finally:
        server.close()
    assert server.process.returncode == 0

"""The program that kills trainings, with trainings that end at once."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "resume_kills.py"
# In place of `tfapp train`: ends as the first word says for `whole`, as the second for `cut`.
TRAINING = """
import sys
code = int(sys.argv[1 if "whole" in sys.argv else 2])
print("error: out of luck", file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The module; what it leaves lies in `temp`."""
    spec = importlib.util.spec_from_file_location("resume_kills", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "resume_kills", module)
    spec.loader.exec_module(module)
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    return module


def run(program, monkeypatch, *words, codes=(0, 0)):
    script = Path(tempfile.gettempdir()).parent / "training.py"
    script.write_text(TRAINING)
    command = (sys.executable, "-S", str(script), *map(str, codes))
    monkeypatch.setattr(program, "_TRAIN", command, raising=False)
    monkeypatch.setattr(sys, "argv", ["resume_kills.py", *words])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert list(Path(tempfile.gettempdir()).iterdir()) == [], "no folder is left"
    return ended.value.code


def test_a_misspelt_loop_is_refused(program, monkeypatch, capsys):
    assert run(program, monkeypatch, "--loop", "steraming") == 2
    assert "invalid choice: 'steraming'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kills", "codes", "told"),
    [
        (1, (3, 0), "the training 'whole' ended with exit code 3"),
        (1, (0, 4), "the training 'cut' ended with exit code 4"),
        (0, (0, 5), "the training 'cut' ended with exit code 5"),
    ],
    ids=["undisturbed", "killed", "final"],
)
def test_a_training_that_fails_ends_it(program, monkeypatch, kills, codes, told):
    words = ("--kills", str(kills), "--seed", "0")  # whose first kill waits for a checkpoint
    monkeypatch.setattr(program, "_TRAINING_SECONDS", 0.0)
    assert run(program, monkeypatch, *words, codes=codes) == f"{told}:\nerror: out of luck"


def test_without_a_terminal_every_tenth_kill_is_a_line(program, capsys):
    seen = [(number, capsys.readouterr().out) for number in program._shown(21)]
    assert [text for _, text in seen if text] == ["10 of 21 kills\n", "20 of 21 kills\n"]
    assert [number for number, text in seen if text] == [11, 21], "after it, before the next"

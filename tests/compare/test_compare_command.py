"""`tfapp compare` as a user types it."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfapp.compare import roster
from tfapp.compare.programs import PROGRAMS, STUDIES, find_subjects
from tfapp.compare.roster import ENGINES
from tfapp.compare.tolerances import TF1, TOLERANCES
from tfapp.errors import ExitCode

DIFFERS = ExitCode.DIFFERS


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir()
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"train-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder


def digits(rows: int, side: int = 28) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    images = random.integers(256, size=(rows, side, side)).astype(np.uint8)
    return images, random.integers(10, size=rows).astype(np.uint8)


def test_a_table_says_what_differs_and_from_where(cli):
    result = cli(
        *("compare", "graph", "quadratic", "--engines", "eager, torch", "--steps", "5"),
        *("--rounds", "0"),
    )
    assert result.code == ExitCode.DONE, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("quadratic: w^2 - 10 w + 25, one weight, gradient descent; 5 steps,")
    assert "loss 25 to 21.2" in lines[0]  # (5 * 0.98^4)^2 = 21.27
    assert lines[1].split() == [
        *("engine", "verdict", "loss", "ulps", "gradients", "weights", "graph"),
    ]
    rows = {line.split()[0]: line for line in lines[2:5]}
    assert set(rows) == {"tf1", "eager", "torch"}
    assert re.match(r"tf1 +reference +\d+ -> \d+$", rows["tf1"].rstrip())
    assert re.match(r"eager +(inside|same bits) ", rows["eager"])
    assert any("Allowed 1e-05 / 5e-07 / 5e-07." in line for line in lines)
    assert any(line.startswith("graph: sum(x y + z)") for line in lines)
    told = [line.split("  ")[0] for line in result.err.splitlines()[:2]]
    assert told == ["quadratic comparing", "graph comparing"]


def test_json_is_one_object(cli):
    words = ("compare", "cnn", "--engines", "numpy,eager", "--steps", "2", "--json", "--quiet")
    words += ("--rounds", "0")
    result = cli(*words)
    assert result.code == ExitCode.DONE, result.err
    assert result.err == ""
    content = json.loads(result.out)
    assert content["schema_version"] == 1
    assert (content["agrees"], content["exact"]) == (True, False)
    assert content["machine"] is None, "nothing was timed"
    (program,) = content["programs"]
    assert (program["program"], program["steps"], program["reference"]) == ("cnn", 2, "tf1")
    rows = {row["engine"]: row for row in program["rows"]}
    assert rows["tf1"]["status"] == "reference"
    assert rows["numpy"]["status"] == "cannot"
    assert rows["numpy"]["detail"] == "no gradient of a convolution is written by hand"
    assert rows["eager"]["status"] == "inside"
    assert rows["eager"]["parity"]["steps"] == 2
    assert set(rows["eager"]["parity"]["loss"]) == {"first", "largest", "outside"}
    assert rows["eager"]["tolerance"]["loss"] > 0


def test_exact_compares_three_engines_bit_by_bit(cli):
    result = cli("compare", "coefficients", "--exact", "--steps", "3")
    assert result.code == ExitCode.DONE, result.err
    rows = [line.split() for line in result.out.splitlines()[2:5]]
    equal = ["same", "bits", "same", "0", "same", "same"]
    assert rows == [["tf1", "reference"], ["eager", *equal], ["function", *equal]]


def test_an_engine_outside_its_tolerance_is_told_with_exit_code_3(cli, monkeypatch):
    # Grappler adds the terms in another order, so some losses differ in a bit.
    monkeypatch.setitem(TOLERANCES["polynomial"], "eager", TF1)
    result = cli("compare", "quadratic", "--engines", "eager", "--rounds", "0")
    assert result.code == DIFFERS
    assert "OUTSIDE" in result.out
    assert "quadratic: eager leaves its tolerance: " in result.err
    assert " at step " in result.err
    told = cli("compare", "quadratic", "--engines", "eager", "--json", "--rounds", "0")
    assert told.code == DIFFERS
    assert json.loads(told.out)["agrees"] is False


def test_more_steps_than_the_tolerances_are_stated_for_are_told(cli):
    result = cli("compare", "graph", "--engines", "numpy", "--steps", "2", "--rounds", "0")
    assert result.code == ExitCode.DONE
    assert "note: the tolerances of graph are stated up to step 1." in result.err


def test_help_and_page_name_every_program_and_engine(cli):
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
    told = cli("compare", "--help").out
    for name in (*PROGRAMS, *ENGINES):
        assert name in told
        assert f"`{name}`" in page


def test_infinity_is_null_in_json(cli, monkeypatch):
    from tfapp.compare import comparison

    original = comparison.Comparer.compare

    def one_sided(self, step, expected):
        return original(self, dataclasses.replace(step, loss=np.float32("nan")), expected)

    monkeypatch.setattr(comparison.Comparer, "compare", one_sided)
    result = cli(
        *("compare", "quadratic", "--engines", "eager", "--steps", "1", "--json", "--rounds", "0")
    )
    assert result.code == DIFFERS

    def refuse(name):
        raise AssertionError(name)

    content = json.loads(result.out, parse_constant=refuse)
    (_, row) = content["programs"][0]["rows"]
    assert row["parity"]["ulps"] is None
    assert row["parity"]["loss"]["outside"] == {"step": 1, "tensor": "loss", "size": None}


def test_a_missing_torch_is_a_row_that_says_how_to_install_it(cli, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = cli("compare", "graph", "--engines", "torch,numpy", "--rounds", "0")
    assert result.code == ExitCode.DONE, result.err
    assert "not installed: pip install 'tfapp[torch]'" in result.out
    alone = cli("compare", "graph", "--engines", "torch")
    assert alone.code == ExitCode.MISSING
    assert "nothing can be compared on graph" in alone.err
    base = cli("compare", "graph", "--reference", "torch")
    assert base.code == ExitCode.MISSING
    assert "the reference torch is not installed: pip install" in base.err


def test_mnist_is_read_from_a_folder(cli, tmp_path):
    folder = write_idx(tmp_path / "mnist", *digits(250))
    result = cli(
        *("compare", "mnist-mlp", "--data", folder, "--engines", "numpy,eager", "--steps", "3"),
        *("--rounds", "0"),
    )
    assert result.code == ExitCode.DONE, result.err
    assert "mnist-mlp" in result.out


def test_all_takes_what_there_is_data_for():
    drawn = [name for name in PROGRAMS if name != "mnist-mlp"]
    for names in ((), ("all",)):
        without, _ = find_subjects(names, with_data=False, exact=False)
        assert [program.name for program in without] == drawn
        everything, studies = find_subjects(names, with_data=True, exact=False)
        assert [program.name for program in everything] == list(PROGRAMS)
        assert [study.name for study in studies] == (list(STUDIES) if names else [])
    both, _ = find_subjects(["cnn", "cnn"], with_data=False, exact=True)
    assert [program.name for program in both] == ["cnn"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("quadratc",), "no program named 'quadratc'. Did you mean 'quadratic'?"),
        (("--engines", "eagr"), "no engine named 'eagr'. Did you mean 'eager'?"),
        (("--engines", ""), "no engine named ''."),
        (("--reference", "tf2"), "no engine named 'tf2'. Did you mean 'tf1'?"),
        (("--steps", "0"), "0 is not in the range x>=1"),
        (("--steps", "many"), "'many' is not a valid integer"),
        (("--exact", "--engines", "xla"), "xla rounds in its own way"),
        (("--exact", "--reference", "torch"), "With --exact, these can: tf1, eager, function."),
        (("mlp", "--engines", "tf1"), "nothing is compared with tf1"),
        (("cnn", "--engines", "numpy"), "nothing can be compared on cnn. numpy: no gradient"),
        (("all", "--reference", "numpy"), "numpy cannot be the reference of cnn"),
        (("mnist-mlp",), "mnist-mlp needs --data FOLDER"),
        (("mlp", "--data", "."), "--data is for mnist-mlp, which is not among the programs."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_answered_at_once(cli, words, said):
    result = cli("compare", *words)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    assert said in result.err
    assert "comparing" not in result.err


def test_images_that_do_not_fit_are_refused(cli, tmp_path):
    small = write_idx(tmp_path / "small", *digits(4, side=8))
    result = cli("compare", "mnist-mlp", "--data", small)
    assert result.code == ExitCode.USAGE
    assert "4 images of 64 pixels" in result.err
    (tmp_path / "empty").mkdir()
    result = cli("compare", "mnist-mlp", "--data", tmp_path / "empty")
    assert result.code == ExitCode.MISSING


@pytest.mark.parametrize("words", [("--help",), ("quadratc",), ("--engines", "eagr")])
def test_help_and_typos_load_no_tensorflow(words):
    script = f"import sys; from tfapp.cli import main; main(('compare', *{words!r}))"
    script += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"tensorflow", "keras", "torch", "legacy_tf1"}
    if words == ("--help",):
        assert "numpy" not in loaded


def test_only_one_module_knows_the_tf1_programs():
    root = Path(roster.__file__).parents[1]
    named = [p.name for p in root.rglob("*.py") if "import legacy_tf1" in p.read_text()]
    named += [p.name for p in root.rglob("*.py") if "from legacy_tf1" in p.read_text()]
    assert set(named) == {"tf1.py"}

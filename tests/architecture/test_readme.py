"""What the README promises."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_notebook_example_runs_and_is_right(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})
    monitored, measured, answered = capsys.readouterr().out.splitlines()
    assert monitored.startswith("val_accuracy ")
    assert "'accuracy'" in measured
    # The first row of Fisher's table is a setosa.
    assert answered.startswith("setosa ")


def test_the_example_of_an_error_is_what_is_said(cli):
    shown = re.search(r"\$ tfapp (train .*epoch=3.*)\n((?:error: .*\n)+)", README)
    assert shown is not None
    result = cli(*shown[1].split())
    for line, said in zip(shown[2].splitlines(), result.err.splitlines(), strict=True):
        assert said.startswith(line.removesuffix(" …").rstrip(",")), said

"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "tfapp").rglob("*.py"))


def uses(tree: ast.AST, owner: str, names: set[str]) -> list[str]:
    return [
        f"line {node.lineno}: {owner}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == owner
        and node.attr in names
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_does_not_read_the_environment_or_exit(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name != "settings.py":
        assert uses(tree, "os", {"environ", "getenv"}) == [], "ask tfapp.settings"
    if path.name != "__main__.py":
        assert uses(tree, "sys", {"exit"}) == [], "raise an error of tfapp.errors"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_four_hundred_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tfapp", "legacy_tf1"}
    assert {"tfapp/py.typed", "tfapp/cli/__init__.py"} <= set(names)
    packaged = {name for name in names if name.startswith("tfapp/") and name.endswith(".py")}
    assert packaged == {str(path.relative_to(ROOT)) for path in MODULES}
    templates = {str(path.relative_to(ROOT)) for path in ROOT.glob("tfapp/**/templates/*")}
    assert len(templates) > 1
    assert templates <= set(names)


def test_pins_name_versions_and_no_addresses():
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in pin for pin in pins if pin and not pin.startswith("#"))
    assert not [pin for pin in pins if "://" in pin or pin.startswith("-")]

"""Curves of a page: what is seen where they agree, and where they leave the axis."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from tfapp.report.bars import Bar, bars_svg
from tfapp.report.inline import inline_svg
from tfapp.report.lines import Curve, Panel, draw_lines

STEPS = range(1, 5)
BLACK, ORANGE, BLUE = "#000000", "#e69f00", "#56b4e9"


def parse(svg: str) -> ET.Element:
    return ET.fromstring(inline_svg(svg, "a figure", "p-"))


def texts(root: ET.Element) -> dict[str, float]:
    """Returns every text of a figure with its height: y grows downwards."""
    return {"".join(text.itertext()): float(text.attrib["y"]) for text in root.iter("text")}


def filled(root: ET.Element, color: str) -> list[list[float]]:
    """Returns left, right, top and bottom of each rectangle of a color."""
    boxes = []
    for path in root.iter("path"):
        if f"fill: {color}" in path.attrib.get("style", "") and path.attrib["d"].count("L") == 3:
            numbers = [float(n) for n in re.findall(r"[\d.]+", path.attrib["d"])]
            xs, ys = numbers[::2], numbers[1::2]
            boxes.append([min(xs), max(xs), min(ys), max(ys)])
    return sorted(boxes)


def step_at(root: ET.Element, step: float) -> float:
    """Returns where a step is, from where the labels of the first two are."""
    x = {text.text: float(text.attrib["x"]) for text in root.iter("text")}
    return x["1"] + (step - 1) * (x["2"] - x["1"])


def strokes(root: ET.Element, color: str, *, dashed: bool) -> int:
    styles = [path.attrib.get("style", "") for path in root.iter("path")]
    return sum(f"stroke: {color}" in s and ("dasharray" in s) is dashed for s in styles)


def differences(*values: float, name: str = "xla", tolerance: float | None = None) -> str:
    curves = (
        Curve("eager", STEPS, (0.0,) * 4, tolerance),
        Curve(name, STEPS, values, tolerance),
    )
    return draw_lines(Panel("differences", "max|d|", curves, log=True, zero="same bits"))


def test_same_data_give_the_same_bytes():
    values = (0.0, 1e-7, math.nan, 2e-6)
    assert differences(*values) == differences(*values)
    bars = {"steps": [Bar("tf1", 3.0, 2.0, 4.0)]}
    assert bars_svg(bars, unit="ms") == bars_svg(bars, unit="ms")


def test_zeros_of_a_logarithmic_axis_have_a_band_below_the_smallest_value():
    root = parse(differences(0.0, 3e-7, 0.0, 0.0))
    words = texts(root)
    assert words["same bits"] > words["1e-07"] > words["1e-06"]
    first, second = filled(root, ORANGE)
    assert first[1] < second[0], "the step between them is no zero"
    step = first[1] - first[0]
    assert second[1] - second[0] == pytest.approx(2 * step, rel=0.01)


def test_every_engine_has_a_lane_of_its_own():
    curves = [Curve(name, STEPS, (0.0,) * 4) for name in ("tf1", "eager", "xla")]
    root = parse(draw_lines(Panel("all the same", "max|d|", curves, log=True, zero="same bits")))
    lanes = [filled(root, color)[0] for color in (ORANGE, BLUE)]
    assert lanes[0][3] < lanes[1][2], "the first is above the second"
    assert "same bits" in texts(root)
    assert not [word for word in texts(root) if "e-" in word], "there is no value to tell of"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("log", [True, False])
def test_what_is_not_finite_has_a_band_at_the_top(value, log):
    losses = {"tf1": (40.0, 30.0, 20.0, 10.0), "xla": (40.0, 30.0, value, value)}
    curves = [Curve(name, STEPS, values) for name, values in losses.items()]
    root = parse(draw_lines(Panel("losses", "loss", curves, log=log)))
    words = texts(root)
    highest = min(y for word, y in words.items() if re.fullmatch(r"[\d.]+", word))
    assert words["losses"] < words["NaN, ∞"] < highest
    ((left, _, _, bottom),) = filled(root, ORANGE)
    assert bottom < highest
    assert left == pytest.approx(step_at(root, 2.5), abs=0.1)


@pytest.mark.parametrize(
    "values", [(), (0.0,), (math.nan,), (math.inf, -math.inf), (-1.0, 1.0), (5e-324, 1e308)]
)
@pytest.mark.parametrize("log", [True, False])
def test_nothing_is_too_odd_to_be_drawn(values, log):
    panel = Panel("$5 & <b>", "y", (Curve("a", range(len(values)), values, 0.0),), log=log)
    assert "$5 & <b>" in texts(parse(draw_lines(panel)))
    assert draw_lines(Panel("none", "y", ()))


def test_an_axis_is_not_logarithmic_below_zero():
    curves = (Curve("a", STEPS, (100.0, 1.0, -1.0, -100.0)),)
    words = texts(parse(draw_lines(Panel("loss", "loss", curves, log=True))))
    assert "0" in words
    assert any(word.startswith("\N{MINUS SIGN}") for word in words)


def test_a_tolerance_is_dashed_in_the_colors_of_all_who_have_it():
    root = parse(differences(1e-7, 1e-7, 1e-7, 1e-7, tolerance=1e-6))
    assert strokes(root, BLACK, dashed=True) == strokes(root, ORANGE, dashed=True) == 1
    assert "tolerance" in texts(root)
    offsets = re.findall(r"dashoffset: ([\d.]+)", ET.tostring(root, encoding="unicode"))
    assert len(set(offsets[:2])) == 2, "or one would hide the other"
    assert "tolerance" not in texts(parse(differences(1e-7, 1e-7, 1e-7, 1e-7, tolerance=0.0)))


def test_a_name_has_one_color_in_all_figures_of_a_page():
    names = ("tf1", "eager", "xla")
    panel = Panel("losses", "loss", (Curve("xla", STEPS, (4.0, 3.0, 2.0, 1.0)),))
    alone, among = parse(draw_lines(panel)), parse(draw_lines(panel, names=names))
    assert strokes(among, BLUE, dashed=False) > strokes(alone, BLUE, dashed=False) == 0


def test_curves_that_coincide_have_markers_at_steps_of_their_own():
    steps = range(1, 101)
    curves = [Curve(name, steps, [1 / step for step in steps]) for name in ("tf1", "eager")]
    root = parse(draw_lines(Panel("losses", "loss", curves)))
    places: dict[str, set[str]] = {}
    for use in root.iter("use"):
        if "stroke: #ffffff" in use.attrib["style"]:
            places.setdefault(use.attrib["href"], set()).add(use.attrib["x"])
    black, orange = places.values()
    assert len(black) >= 3 <= len(orange)
    assert not black & orange


def test_inside_a_page_a_figure_has_no_address_and_no_id_of_another():
    one, two = (inline_svg(differences(0.0, 1e-7, 0, 0), "a", prefix) for prefix in ("x-", "y-"))
    assert "http" not in one
    assert "<style" not in one
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', one)) <= {
        pair for name in ids[0] for pair in ((name, ""), ("", name))
    }


def test_what_the_steps_are_stands_below_the_axis():
    curve = Curve("loop", STEPS, [1.0, 2.0, 3.0, 4.0])
    assert "turns" in texts(parse(draw_lines(Panel("growth", "nodes", [curve], xlabel="turns"))))
    assert "step" in texts(parse(draw_lines(Panel("growth", "nodes", [curve]))))

"""Pages as a browser lays them out."""

from __future__ import annotations

from browser import DESKTOP, PHONE, complaints, look, needs_browser

from tfapp.report.bars import Bar, bars_svg
from tfapp.report.lines import Curve, Panel, draw_lines
from tfapp.report.page import (
    Code,
    Columns,
    Page,
    Picture,
    Section,
    Table,
    Text,
    Verdict,
    render_page,
)

pytestmark = needs_browser


def wide_page() -> Page:
    """Everything that could be wider than a phone: words, tables, code, figures."""
    word = "x" * 200
    curves = [Curve(f"engine {n}", (1, 2, 3), (0.0, 1e-7, 2e-7), 1e-6) for n in range(8)]
    picture = Picture(draw_lines(Panel("differences", "max|d|", curves, log=True)), "a", word)
    bars = Picture(bars_svg({"a": [Bar("b" * 40, 3.0, 2.0, 4.0)]}, unit="ms"), "bars")
    table = Table([f"column {n}" for n in range(12)], [["a wide cell"] * 12, [word] * 12], word)
    pairs = Table(
        ("name", "value"),
        [("size of what is there", "train 1,294, validation 144, test 359")],
        word,
    )
    blocks = (Text(word), table, pairs, Columns((picture, picture)), bars)
    code = Columns((Code(word, "long", "TF1"), Code(word, word, "TF2")))
    sections = (Section(word, blocks, Verdict("agrees", "ok")), Section("Code", (code,)))
    return Page(word, sections, (Text(word),), word)


def test_a_page_is_never_wider_than_a_phone(tmp_path):
    seen = look(render_page(wide_page()), tmp_path, PHONE)
    assert seen.window == PHONE
    assert complaints(seen) == []
    assert min(figure.width for figure in seen.figures) > 0.8 * PHONE, "most of the width"
    # Each in a box of its own; a table of names and values has room.
    assert sorted(seen.scrolling) == ["card", "pre", "pre", "table"]


def test_many_long_names_of_curves_are_all_read(tmp_path):
    names = [f"20261121-0345{n:02d}-breast-cancer-mlp" for n in range(9)]
    curves = [Curve(name, (1, 2), (0.5, 0.4)) for name in names]
    picture = Picture(draw_lines(Panel("loss", "loss", curves)), "curves")
    page = render_page(Page("runs", [Section("Curves", [picture])]))
    for width in (PHONE, DESKTOP):
        seen = look(page, tmp_path, width)
        assert complaints(seen) == []
        assert {text.words for text in seen.figures[0].texts} >= set(names)


def svg(label: str, inner: str, size: str = 'width="99" height="99"') -> str:
    return f'<svg aria-label="{label}" {size}>{inner}</svg>'


FLAWS = {
    "it is 9": '<div style="width: 900px">wide</div>',
    "it asks for https://example.org/x.png": '<img src="https://example.org/x.png">',
    "it asks for https://example.org/x.css": '<link rel="stylesheet" '
    'href="https://example.org/x.css">',
    "flat: its size is 50 x 0 pixels": svg("flat", "", 'width="50" height="0"'),
    "cut: 'long' is cut off": svg("cut", '<text x="90" y="50">long</text>'),
    "hidden: an image in it has no size": svg("hidden", '<image width="99" height="0"/>'),
    "out: an image in it is cut off": svg("out", '<image x="50" width="99" height="9"/>'),
    "tiny: 'b' has 6.0 pixels": svg("tiny", '<text y="50" font-size="6">b</text>'),
    "shrunk: 'b' has 6.9 pixels": svg(
        "shrunk",
        '<text y="50" font-size="14">b</text>',
        'width="99" height="99" viewBox="0 0 200 200"',
    ),
    "over: 'c' lies over 'b'": svg("over", '<text y="50">b</text><text y="52">c</text>'),
}


def test_the_browser_sees_what_is_wrong(tmp_path):
    page = render_page(Page("empty", ()))
    assert complaints(look(page, tmp_path, PHONE)) == []
    flawed = look(page.replace("<main>", "<main>" + "".join(FLAWS.values())), tmp_path, PHONE)
    found = complaints(flawed)
    assert len(found) == len(FLAWS)
    for said in FLAWS:
        assert [complaint for complaint in found if complaint.startswith(said)], said

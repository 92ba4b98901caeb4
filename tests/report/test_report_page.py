"""Pages: one file that is whole, escaped and readable by more than eyes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tfapp.errors import StorageError, UsageError
from tfapp.report.bars import Bar, bars_svg
from tfapp.report.figures import draw_curves
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
    check_page_path,
    render_page,
    write_page,
)

VOID = {"meta", "link", "img", "br", "hr", "input"}
EVIL = """<script>alert("x")</script> & 'y' </style></title>"""


class Reader(HTMLParser):
    """Reads a page; fails where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)

    def named(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def figure(*names: str) -> str:
    curves = [Curve(name, (1, 2, 3), (0.0, 1e-7, 2e-7), 1e-6) for name in names]
    return draw_lines(Panel("differences", "max|d|", curves, log=True, zero="same bits"))


def full_page(word: str = "two-layer") -> Page:
    table = Table(
        ("engine", "ulps", "verdict"),
        (
            ("tf1", "", "reference"),
            ("torch", "4,096", Verdict("OUTSIDE", "differs")),
            (word, "", Verdict("not installed", "missing")),
        ),
        f"Engines on {word}",
        numeric=("ulps",),
        notes=(f"{word} is a note",),
    )
    picture = Picture(figure("tf1", word), f"curves of {word}", f"Curves of {word}")
    bars = Picture(bars_svg({word: [Bar(word, 3.0, 2.0, 4.0)]}, unit="ms"), "bars")
    codes = Columns((Code(f"w = {word}", word, "TF1"), Code("w = 2\n", "new.py")))
    return Page(
        word,
        (
            Section(word, (Text(word), table, Columns((picture, bars))), Verdict(word, "differs")),
            Section("Programs", (codes,)),
            Section(word, (picture, Verdict("agrees", "ok"))),
        ),
        summary=(Verdict(word, "ok"), Text("what this is")),
        footer=f"made by {word}",
    )


@pytest.mark.parametrize("word", ["two-layer", EVIL])
def test_a_page_is_well_formed_and_asks_for_nothing_else(word):
    text = render_page(full_page(word))
    reader = Reader(text)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert not {"script", "link", "img", "iframe", "object", "base"} & {t for t, _ in reader.tags}
    for _, attributes in reader.tags:
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith("#")
    (policy,) = [m["content"] for m in reader.named("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")


def test_ids_are_there_once_and_links_lead_to_them():
    reader = Reader(render_page(full_page()))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for _, a in reader.tags if "href" in a}
    assert {"two-layer", "programs", "two-layer-2"} <= links <= set(ids)


def test_everything_that_is_given_is_escaped():
    text = render_page(full_page(EVIL))
    assert "<script" not in text
    assert text.count("</title>") == text.count("</style>") == 1
    # Title, heading, sections, contents, cells, captions, code and figures among them.
    assert text.count("&lt;script&gt;") > 15
    reader = Reader(text)
    for tag in ("title", "h1", "h2", "a", "th", "p", "code", "figcaption", "span"):
        assert EVIL in "".join(reader.words[tag]), tag


def test_headings_tables_and_figures_say_what_they_are():
    reader = Reader(render_page(full_page()))
    headings = [tag for tag, _ in reader.tags if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", "h2", "h2", "h2"]
    assert reader.named("html") == [{"lang": "en"}]
    assert [h["scope"] for h in reader.named("th")] == ["col"] * 3 + ["row"] * 3
    assert len(reader.named("caption")) == len(reader.named("table")) == 1
    labels = [svg["aria-label"] for svg in reader.named("svg")]
    assert labels == ["curves of two-layer", "bars", "curves of two-layer"]
    assert all(svg["role"] == "img" for svg in reader.named("svg"))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.named(
        "meta"
    )


def test_rows_that_differ_stand_out():
    reader = Reader(render_page(full_page()))
    rows = [row.get("class") for row in reader.named("tr")]
    assert rows == [None, None, "differs", "missing"]
    numbers = [cell for cell in reader.named("td") if cell.get("class") == "number"]
    assert len(numbers) == 3


def test_contents_are_listed_where_there_are_several_sections():
    page = full_page()
    one = Page(page.title, page.sections[:1])
    assert len(Reader(render_page(page)).named("nav")) == 1
    reader = Reader(render_page(one))
    assert reader.named("nav") == reader.named("footer") == []


def test_the_same_page_gives_the_same_bytes():
    assert render_page(full_page()) == render_page(full_page())


def test_a_figure_of_a_run_can_stand_on_a_page(digits_run):
    svg = draw_curves(digits_run).read_text()
    reader = Reader(render_page(Page("run", (Section("Curves", (Picture(svg, "curves"),)),))))
    assert [svg["aria-label"] for svg in reader.named("svg")] == ["curves"]


def test_a_page_is_written_whole_and_its_folder_made(tmp_path):
    path = write_page(full_page(), tmp_path / "new" / "folder" / "page.HTML")
    assert path.read_text() == render_page(full_page())
    assert [p.name for p in path.parent.iterdir()] == ["page.HTML"]
    odd = write_page(Page("a\udcffb", ()), path)
    assert "<title>a?b</title>" in odd.read_text()


def test_what_is_no_page_is_refused_before_anything_is_drawn(tmp_path):
    folder = tmp_path / "results.html"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"results.html is a folder; name a file in it, such as"):
        check_page_path(folder)
    with pytest.raises(UsageError, match=r"page.pdf: .* such as .*page.html\."):
        write_page(full_page(), tmp_path / "page.pdf")
    with pytest.raises(UsageError, match=r"give a name such as .*page.html\."):
        check_page_path(tmp_path / "page")
    check_page_path(tmp_path / "not" / "yet" / "page.htm")


def test_a_disk_that_refuses_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot write .*page.html: .*Nothing that was there"):
        write_page(full_page(), tmp_path / "file" / "page.html")
    with pytest.raises(StorageError, match=r"cannot write .*File name too long"):
        check_page_path(tmp_path / f"{'x' * 300}.html")
    assert (tmp_path / "file").read_text() == "mine"

"""SVG as a part of an HTML page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

_URL = re.compile(r"url\(#([^)]+)\)")
_FONT_FAMILY = re.compile(r"\s*font-family:[^;]*;?")
_DIGITS = re.compile(r"(\.\d\d)\d+")
_COORDINATES = ("d", "points", "x", "y")


def inline_svg(svg: str, label: str, prefix: str) -> str:
    """Returns an SVG such that many of them fit into one page.

    On a page ids are shared by all pictures and a style sheet holds for everything, so ids get a
    prefix or, where nothing refers to them, are left out, and so are style sheets, metadata and
    namespaces. Text takes the font of the page. Hundredths of a point are enough.

    Args:
        svg: As matplotlib writes it, e.g. by `svg_text`.
        label: What it shows, for those who do not see it.
        prefix: Of its ids; another for each picture of the page.
    """
    root = ET.fromstring(svg)
    _drop(root, ("style", "metadata"))
    used = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.text = element.text if (element.text or "").strip() else None
        element.tail = None
        attributes = {_local(key): value for key, value in element.attrib.items()}
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        element.attrib = {key: _rewrite(key, attributes[key], prefix) for key in attributes}
    width = float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3  # CSS has 3 pt in 4 px
    del root.attrib["height"], root.attrib["version"]
    root.attrib |= {
        "role": "img",
        "aria-label": label,
        "style": f"--width: {width:.0f}px",
        # What matplotlib's style sheet said.
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    return ET.tostring(root, encoding="unicode")


def _drop(root: ET.Element, names: tuple[str, ...]) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in names]:
            parent.remove(child)


def _references(element: ET.Element) -> list[str]:
    names = [name for value in element.attrib.values() for name in _URL.findall(value)]
    links = [value for key, value in element.attrib.items() if _local(key) == "href"]
    return names + [link.removeprefix("#") for link in links]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rewrite(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if key in _COORDINATES:
        return _DIGITS.sub(r"\1", " ".join(value.split()))
    if key == "style":
        value = _FONT_FAMILY.sub("", value)
    return _URL.sub(rf"url(#{prefix}\1)", value)

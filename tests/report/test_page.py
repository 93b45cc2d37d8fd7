"""A report is one well-formed file, takes no text for markup, and loads nothing."""

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lvlora.report.document import Document, Facts, Picture, Points, Section, Table
from lvlora.report.drawing.course import course_figure
from lvlora.report.page import page, show, write_page
from lvlora.train.document import course_of
from lvlora.train.record import StepRecord

STEPS = [StepRecord(step=1, loss=1.0), StepRecord(step=2, loss=0.5)]

EVIL = "<script>alert(1)</script> \"'&amp; $x$ </style><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "img", "source"}


class Reader(HTMLParser):
    """Every element with its attributes, and the text; closing tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs))
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.words)


def content(text: str = EVIL) -> Document:
    return Document(
        title=text,
        lead=text,
        footer=text,
        sections=[
            Section(
                text,
                [
                    text,
                    Facts([(text, text), ("rank", 8)]),
                    Table(text, ["forecaster", text], [[text, 0.5], ["VAR", None]], marked=[0]),
                    Points([text]),
                    Picture(text, Figure, text),
                ],
            ),
            Section(text, [Table(text, ["a"], []), Picture(text, Figure)]),
        ],
    )


def test_text_is_never_markup() -> None:
    read = Reader(page(content()))
    assert not read.all("script")
    assert len(read.all("img")) == 2
    assert not any(name.startswith("on") for _, result in read.elements for name in result)
    assert read.text.count(EVIL) == 17  # each text once, headings in the contents too
    assert [result["alt"] for result in read.all("img")] == [EVIL, EVIL]


@settings(max_examples=20)
@given(st.text())
def test_any_text_gives_a_well_formed_page(text: str) -> None:
    read = Reader(page(content(text)))
    ids = Counter(result["id"] for _, result in read.elements if "id" in result)
    assert max(ids.values()) == 1
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
    page(content(text)).encode()


def test_nothing_is_loaded() -> None:
    text = page(content("plain words"))
    assert not re.search(r"(?:src|href|url|import)\W{0,3}(?:https?:)?//", text)
    read = Reader(text)
    for _, result in read.elements:
        for name in ("src", "href"):
            assert result.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in text
    assert "url(" not in text


def test_the_policy_allows_this_style_and_pictures_only() -> None:
    text = page(content())
    (policy,) = (
        result["content"]
        for result in Reader(text).all("meta")
        if result.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    css = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert css
    digest = base64.b64encode(hashlib.sha256(css[1].encode()).digest()).decode()
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert not any("style" in result for _, result in Reader(text).elements)


def test_words_stand_out_from_the_paper_in_light_and_dark() -> None:
    """WCAG's contrast of 4.5, in each scheme."""

    def luminance(colour: str) -> float:
        digits = colour if len(colour) == 6 else "".join(c + c for c in colour)
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    css = re.search(r"<style>(.*?)</style>", page(content()), re.DOTALL)
    assert css
    colours = re.findall(r"--(\w+): *#([0-9a-f]+)", css[1])
    schemes = [dict(colours[: len(colours) // 2]), dict(colours[len(colours) // 2 :])]
    assert schemes[0].keys() == schemes[1].keys()
    for scheme in schemes:
        paper = luminance(scheme["paper"])
        for name in ("ink", "faint", "mark"):
            low, high = sorted((paper, luminance(scheme[name])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name


def test_everyone_finds_their_way() -> None:
    read = Reader(page(content()))
    ids = {result["id"] for _, result in read.elements if "id" in result}
    assert read.all("html")[0]["lang"] == "en"
    assert read.all("meta")[0] == {"charset": "utf-8"}
    assert any("width=device-width" in result.get("content", "") for result in read.all("meta"))
    assert read.all("a")[0] == {"class": "skip", "href": "#content"}
    assert {result["href"][1:] for result in read.all("a")} <= ids
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert len(read.all(tag)) == 1
    for _, result in read.elements:
        if "aria-labelledby" in result:
            assert result["aria-labelledby"] in ids
        if result.get("class") == "scroll":
            assert result["tabindex"] == "0"
            assert result["role"] == "region"
            assert "aria-labelledby" in result or result["aria-label"]
    assert all(result["scope"] in ("row", "col") for result in read.all("th"))


def test_sections_without_content_are_left_out() -> None:
    read = Reader(page(Document("t", [Section("full", ["words"]), Section("empty", [])])))
    assert len(read.all("section")) == 1
    assert not read.all("nav")


def test_cells_are_numbers_as_people_read_them() -> None:
    assert [show(x) for x in (1234567, 10**17, 0.0, -0.25, float("inf"), "", False)] == [
        "1,234,567",
        "10¹⁷",
        "0",
        "-0.25",
        "–",
        "",
        "no",
    ]
    facts = Facts({"targets": ("q", "v"), "none": [], "path": Path("a/b")})
    words = Reader(page(Document("t", [Section("s", [facts])]))).text
    assert "targetsq, vnone–patha/b" in words
    read = Reader(page(content("x")))
    assert [result.get("class") for result in read.all("td")] == ["number", "number"]
    assert [result.get("class") for result in read.all("tr")] == [None, "marked", None, None]


def test_a_matplotlib_figure_becomes_a_picture() -> None:
    figure = course_figure(course_of(STEPS))
    picture = Picture("loss falls", lambda: figure)
    (result,) = Reader(page(Document("t", [Section("s", [picture])]))).all("img")
    assert (result["width"], result["height"]) == ("768", "346")
    head, data = result["src"].split(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(data).startswith(b"<?xml")


def test_the_file_is_the_page(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_page(path, content())
    assert path.read_text(encoding="utf-8") == page(content())
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]

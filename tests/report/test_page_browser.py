"""The report in a real browser: on a phone, on a desk, in the dark, by keyboard, on paper."""

import base64
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import chromium
import numpy as np
import pytest
from matplotlib.image import imread

from lvlora.report.document import Document, Facts, Picture, Points, Section, Table
from lvlora.report.drawing.errors import Bar, errors_figure
from lvlora.report.forecast import forecast_figure
from lvlora.report.page import write_page

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing())

BOXES = """
return Array.from(document.querySelectorAll('.scroll'), b => [b.scrollWidth, b.clientWidth]);
"""
ROWS = [
    ["a forecaster with quite a long name", "adapter", *[0.131] * 7],
    ["VAR(p) on logs", "rival", *[0.186] * 7],
]


@pytest.fixture(scope="module")
def window() -> Iterator[chromium.Browser]:
    with chromium.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, make_picture) -> Path:
    head = ["forecaster", "kind", *(f"metric {i}" for i in range(7))]
    errors = [Bar(str(row[0]), float(row[2]), row[1] == "adapter") for row in ROWS]
    two = [make_picture(title="one"), make_picture(title="two")]
    all_bars, one = partial(errors_figure, errors), partial(forecast_figure, make_picture())
    narrow = partial(forecast_figure, two, narrow=True)
    both = Picture("two forecasts", partial(forecast_figure, two), narrow=narrow)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(
        path,
        Document(
            "Run <script>document.title = 'broken'</script>",
            [
                Section("Result", [Table("Forecasters", head, ROWS, marked=[0])]),
                Section("Errors", [Picture("errors", all_bars, "All of them")]),
                Section("Forecasts", [Picture("a forecast", one)]),
                Section("Phone", [both]),
                Section("Settings", [Facts([("data", "long/" * 60), ("rank", 8)])]),
                Section("Limits", [Points(["x" * 300])]),
            ],
            lead="MAE 0.131",
        ),
    )
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_fits_the_screen_and_shows_its_figures(
    window: chromium.Browser, report: Path, width: int, dark: bool
) -> None:
    window.show(report, width=width, dark=dark)
    assert window.run("return document.documentElement.scrollWidth") <= width
    assert window.run("return document.title").startswith("Run <script>")
    pictures = window.run(
        "return Array.from(document.images, i => [i.complete, i.naturalWidth, i.width, i.height])"
    )
    assert len(pictures) == 3
    for complete, natural, shown, height in pictures:
        assert complete
        assert natural > 0
        assert shown >= min(width - 80, 540)
        assert height > 100
    fitting = pictures[-1]
    if width == 360:  # one under the other, and no wider than the screen
        assert fitting[2] < width
        assert fitting[3] > 1.2 * fitting[2]
    else:
        assert fitting[3] < fitting[2]
    assert window.complaints() == []


def test_colours_follow_the_scheme(window: chromium.Browser, report: Path) -> None:
    """The paper is dark in the dark, figures included, and light elsewhere."""
    for dark in (False, True):
        window.show(report, width=1280, dark=dark)
        pixels = imread(io.BytesIO(window.picture()))[..., :3]
        assert (np.median(pixels) < 0.3) == dark
        box = window.run(
            "const b = document.images[0].getBoundingClientRect();"
            "return [b.left, b.top + scrollY, b.right, b.bottom + scrollY]"
        )
        left, top, right, bottom = (round(x) for x in box)
        figure = pixels[top:bottom, left:right]
        assert (np.median(figure) < 0.3) == dark
        assert figure.std() > 0.03  # something is drawn


def test_text_stands_out(window: chromium.Browser, report: Path) -> None:
    """WCAG's contrast of 4.5 for the page's words, in both schemes."""
    script = """
    const rgb = s => s.match(/[0-9.]+/g).slice(0, 3).map(Number);
    const paper = rgb(getComputedStyle(document.body).backgroundColor);
    return ['h1', '.lead', 'p', 'nav a', 'dt', 'dd', 'figcaption', 'td'].map(q => [
      q, rgb(getComputedStyle(document.querySelector(q)).color), paper]);
    """

    def luminance(rgb: list[float]) -> float:
        c = np.array(rgb) / 255
        linear = np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for dark in (False, True):
        window.show(report, width=1280, dark=dark)
        for name, ink, paper in window.run(script):
            low, high = sorted((luminance(ink), luminance(paper)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, dark)


def test_all_can_be_reached_by_keyboard(window: chromium.Browser, report: Path) -> None:
    window.show(report, width=360)
    reached = []
    for _ in range(10):
        window.press_tab()
        reached.append(
            window.run("const e = document.activeElement; return e.className || e.textContent")
        )
    links = ["Result", "Errors", "Forecasts", "Phone", "Settings", "Limits"]
    assert reached == ["skip", *links, *["scroll"] * 3]
    outline = window.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    window.show(report, width=360)
    window.press_tab()
    box = window.run("return document.querySelector('.skip').getBoundingClientRect().left")
    assert box >= 0  # hidden until it has the focus


def test_wide_things_move_in_their_own_box(window: chromium.Browser, report: Path) -> None:
    window.show(report, width=360)
    boxes = window.run(BOXES)
    assert [inner > outer for inner, outer in boxes] == [True, True, True, False]
    window.show(report, width=1280)
    boxes = window.run(BOXES)
    assert all(inner <= outer for inner, outer in boxes)


def test_it_prints_on_few_pages(window: chromium.Browser, report: Path) -> None:
    window.show(report, width=1280, dark=True)
    pdf = base64.b64decode(window.devtools("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    assert 1 <= pdf.count(b"/Type /Page\n") <= 3

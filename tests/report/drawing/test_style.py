"""One look for all figures, whatever the user's matplotlib is set to."""

import io
from pathlib import Path

import matplotlib
import pytest
from matplotlib.cbook import is_math_text

from lvlora.errors import SettingsError
from lvlora.report.drawing import style


def figure_with(text: str, *, values: tuple[float, ...] = (1.0, 2.0)) -> object:
    with style.look():
        figure = style.new_figure()
        axes = figure.add_subplot()
        axes.plot(values)
        axes.set_title(text, color="#123456")
    return figure


@pytest.mark.parametrize("text", ["$x$", "US$ or $", "a$b", "$$", "\\$x$", "$\\badcommand$"])
def test_text_from_a_file_is_never_a_formula(text: str) -> None:
    assert not is_math_text(style.plain(text))
    svg = style.render(figure_with(style.plain(text)), "svg").decode()  # type: ignore[arg-type]
    assert text.replace("&", "&amp;") in svg


def test_text_is_one_line_and_not_too_long() -> None:
    assert style.plain("a\nb\tc\x00 \u2028d") == "a b c d"
    assert style.plain("x" * 50) == "x" * 39 + "…"
    assert len(style.plain("$" * 50, 10).replace(r"\$", "$")) == 10


def test_a_script_without_letters_in_the_font_is_no_warning() -> None:
    assert style.render(figure_with("日本 🦊"), "png").startswith(b"\x89PNG")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes(format: str) -> None:
    first, second = (style.render(figure_with("t"), format) for _ in range(2))  # type: ignore[arg-type]
    assert first == second


def test_the_users_settings_change_nothing_and_are_not_changed() -> None:
    expected = style.render(figure_with("t"), "svg")  # type: ignore[arg-type]
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        assert style.render(figure_with("t"), "svg") == expected  # type: ignore[arg-type]
        assert dict(matplotlib.rcParams) == before


def test_the_suffix_says_the_format(tmp_path: Path) -> None:
    figure = figure_with("t")
    for name, start in (("a.png", b"\x89PNG"), ("b.SVG", b"<?xml"), ("c.pdf", b"%PDF")):
        style.save(figure, tmp_path / name)  # type: ignore[arg-type]
        assert (tmp_path / name).read_bytes().startswith(start)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.SVG", "c.pdf"]
    for name in ("a.jpeg", "a"):
        with pytest.raises(SettingsError, match="cannot be saved"):
            style.save(figure, tmp_path / name)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [(1.0, 1e9), (0.11, 0.14), (1e-7, 1e-3), (3.0, 80.0)])
def test_logarithmic_ticks_are_plain_and_some(values: tuple[float, float]) -> None:
    with style.look():
        figure = style.new_figure()
        axes = figure.add_subplot()
        axes.plot([0, 1], values)
        axes.set_yscale("log")
        style.plain_log_ticks(axes.yaxis)
        figure.savefig(io.BytesIO(), format="png")
        low, high = axes.get_ylim()
        ticks = axes.yaxis.get_major_ticks()
        shown = [t.label1.get_text() for t in ticks if low <= t.get_loc() <= high]
    assert 2 <= len(shown) <= 10
    assert not any("$" in label for label in shown)

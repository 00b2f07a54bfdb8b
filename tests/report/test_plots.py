"""Figures: what is drawn is what the table holds."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from plotted import scores

from superpose.files import DataError
from superpose.report import plots


def points(axes, marker):
    """Return the x values of every one-point line with this marker."""
    return [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == marker]


def text_boxes(figure):
    """Return (text, window extent) of everything written on the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    labels = [t for axes in figure.axes for t in (*axes.get_yticklabels(), axes.title, axes.xaxis.label)]
    labels += figure.legends[0].get_texts()
    return [(t.get_text(), t.get_window_extent(renderer)) for t in labels if t.get_text().strip()]


def test_every_score_is_drawn_in_its_panel():
    table = scores([("retina", "network")])
    figure = plots.alignment(table)
    assert [axes.get_title() for axes in figure.axes] == [
        "debiased CKA", "held-out $r$\nfirst → second", "held-out $r$\nsecond → first"]  # fmt: skip
    wanted = table[(table.metric == "ridge_r") & (table.system_a == "network")]
    for space, (marker, _) in plots.SPACES.items():
        expected = wanted[(wanted.space == space) & (wanted.control == "none")].score
        np.testing.assert_allclose(points(figure.axes[2], marker), expected)
    np.testing.assert_allclose(points(figure.axes[2], "x"), wanted[wanted.control == "shuffled_fit"].score)


def test_intervals_and_null_band_are_those_of_the_table():
    table = scores([("a", "b")], spaces=("raw",), control=False)
    axes = plots.alignment(table, metrics=["cka_debiased"]).axes[0]
    row = table[table.metric == "cka_debiased"].iloc[0]
    drawn = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert (row.low, row.high) in drawn
    assert (row.null, row.null) in drawn
    band = axes.patches[0]
    assert band.get_x() == row.null_low
    assert band.get_x() + band.get_width() == pytest.approx(row.null_high)


def test_pairs_keep_one_order_whatever_the_direction():
    rows = plots.tidy(scores([("b", "a"), ("c", "a")]))
    assert list(dict.fromkeys(rows.pair)) == [("b", "a"), ("c", "a")]
    assert rows.loc[rows.system_a == "a", "forward"].eq(False).all()


@pytest.mark.parametrize("width", [3.5, 7.0])
@pytest.mark.parametrize("count", [1, 30])
def test_text_is_inside_the_figure_and_does_not_overlap(count, width):
    names = [f"a_long_network_name.layer_{i}" for i in range(10)]
    figure = plots.alignment(scores(list(itertools.combinations(names, 2))[:count]), width=width)
    boxes = text_boxes(figure)
    canvas = figure.bbox
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= canvas.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= canvas.y1, text
    for (text, box), (other, second) in itertools.combinations(boxes, 2):
        assert not box.overlaps(second), (text, other)


def test_spaces_differ_without_colour():
    markers = [marker for marker, _ in (*plots.SPACES.values(), *plots.CONTROLS.values())]
    assert len(set(markers)) == len(markers)


def test_two_fits_of_one_space_are_two_lanes_with_their_names():
    table = scores([("a", "b")], spaces=("raw", "latent"), control=False)
    independent = table[table.space == "latent"].assign(fit="independent")
    figure = plots.alignment(pd.concat([table, independent]))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:3] == ["raw", "latent, pairwise fit", "latent, independent fit"]
    heights = {float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_marker() == "^"}
    assert len(heights) == 2


def test_a_score_that_is_missing_is_marked():
    table = scores([("a", "b")], spaces=("raw", "latent"), control=False)
    table.loc[table.space == "latent", ["score", "low", "high"]] = np.nan
    axes = plots.alignment(table).axes[0]
    assert [text.get_text() for text in axes.texts] == ["n/a"]


def test_a_table_of_compare_without_spaces_is_enough():
    row = {"system_a": "x", "system_b": "y", "metric": "rsa", "directed": False, "score": 0.2}
    table = pd.DataFrame([row])
    figure = plots.alignment(table, metrics=["rsa"])
    assert points(figure.axes[0], "o") == [0.2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["raw"]


def test_unknown_spaces_controls_and_metrics_are_drawn_too():
    table = pd.DataFrame(
        {"system_a": "x", "system_b": "y", "metric": "other", "directed": False, "score": [0.2, 0.1],
         "space": "dream", "control": ["none", "asleep"], "null": 0.05}
    )  # fmt: skip
    figure = plots.alignment(table, metrics=["other"])
    assert figure.axes[0].get_title() == "other"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dream", "null", "asleep"]


def test_names_are_never_read_as_mathematics():
    figure = plots.alignment(scores([("$\\frac{", "a\n$b$")]))
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].get_yticklabels()[0].get_text() == "$\\frac{\na $b$"


def test_names_are_shortened_in_the_middle():
    assert plots.shorten("a" * 15 + "b" * 15) == "a" * 9 + "…" + "b" * 9
    assert plots.shorten("short\t name") == "short name"


def test_a_table_without_its_columns_is_refused():
    with pytest.raises(DataError, match=r"lacks the column\(s\) metric, directed, score; expected the table"):
        plots.alignment(pd.DataFrame({"system_a": [], "system_b": []}))


def test_metrics_that_the_table_lacks_are_refused():
    with pytest.raises(DataError, match="no row of procrustes; it holds cka_debiased, ridge_r"):
        plots.alignment(scores([("a", "b")]), metrics=["procrustes"])
    with pytest.raises(DataError, match="it holds no row at all"):
        plots.alignment(scores([("a", "b")]).iloc[:0])


def test_saved_files_are_complete_and_repeatable(tmp_path):
    table = scores([("a", "b")])
    first = plots.save(plots.alignment(table), tmp_path / "one.v2")
    second = plots.save(plots.alignment(table), tmp_path / "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.v2.png", "one.v2.svg", "two.png", "two.svg"]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert first[0].read_bytes()[:4] == b"\x89PNG"
    assert first[1].read_text().rstrip().endswith("</svg>")


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, superpose.report.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_drawing_does_not_touch_pyplot():
    code = (
        "import sys; sys.path.insert(0, 'tests/support'); from plotted import scores; "
        "from superpose.report import plots; "
        "plots.alignment(scores([('a', 'b')])); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

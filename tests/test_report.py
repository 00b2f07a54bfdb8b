"""The report: one file that refers to nothing outside itself, shows every score, and trusts no name."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from test_plots import scores

from superpose import plots, report
from superpose.files import DataError

HOSTILE = '</script><script>console.error("run")</script><img src=x onerror=console.error(1)>"\'&'
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
    "--virtual-time-budget=10000",
]  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, attributes and the visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside):
            self.text.append(data)


def written(table, **given):
    return report.page(
        **{"title": "A title", "sentences": ["One sentence."], "warnings": [], "settings": {"seed": 0}} | given,
        table=table,
    )


def table_rows(page):
    """Return the scores table as a data frame, read by pandas."""
    body = page[page.index("<table>") : page.index("</table>") + 8]
    cells = re.findall(r"<tr>(.*?)</tr>", body, flags=re.S)
    values = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, flags=re.S) for line in cells]
    return pd.DataFrame(values[1:], columns=values[0])


def external(page):
    """Return every reference of a page that a browser would follow."""
    followed = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}
    links = [v for _, attributes in Reader(page).tags for k, v in attributes.items() if k in followed and v]
    outside = [link for link in links if not link.startswith(("#", "data:", "blob:"))]
    return outside + re.findall(r"(?:url\(|@import|\bimport\s*\(?)\s*[\"']?(?:https?:)?//[^\"')\s]+", page)


def test_every_score_is_in_the_table_with_its_numbers():
    table = scores([("retina", "network")])
    shown = table_rows(written(table))
    scored = shown["Score"].str.replace("−", "-").astype(float)
    np.testing.assert_allclose(sorted(scored), sorted(table.score), atol=5.1e-4)
    first, row = shown.iloc[0], table.iloc[0]
    assert first["Systems"] == "retina – network"
    assert first["Score"] == f"{row.score:.3f}"
    assert first["Interval"] == f"[{row.low:.3f},\u00a0{row.high:.3f}]"
    assert first["Null"] == "0.000 [−0.020,\u00a00.025]"
    assert list(first[["Samples", "Units a, b", "FVU a, b", "Dead a, b", "L0 a, b", "Same index"]]) == [
        "10,000", "384, 192", "0.080, 0.110", "1.0%, 0.0%", "32.0, 31.5", "0.410"]  # fmt: skip


def test_spaces_of_one_score_stand_below_each_other():
    table = scores([("b", "a"), ("a", "c")]).sample(frac=1, random_state=0)
    shown = table_rows(written(table))
    pair = shown[shown["Systems"].isin(["b – a", "b → a", "a → b", "a – b"])]
    assert list(shown.index[: len(pair)]) == list(pair.index) or list(shown.index[-len(pair) :]) == list(pair.index)
    cka = pair[pair["Metric"] == "debiased CKA"]
    assert list(cka["Space"]) == ["raw", "reconstruction", "predicted", "latent", "latent"]
    assert list(cka["Control"])[-2:] == ["", "shuffled_fit"]
    assert list(dict.fromkeys(pair["Metric"])) == ["debiased CKA", "held-out r"]
    assert pair["Systems"].nunique() == 3


def test_a_missing_score_is_shown_with_its_reason():
    table = scores([("a", "b")], control=False)
    table.loc[0, ["score", "low", "high"]] = np.nan
    table.loc[0, "why"] = "units >= samples & no ridge"
    table.loc[1, "score"] = np.nan
    shown = table_rows(written(table))
    missing = shown[shown["Score"] == "NaN"]
    assert list(missing["Note"]) == ["units &gt;= samples &amp; no ridge", "Not computed; no reason was recorded."]
    assert missing["Interval"].iloc[0] == ""
    assert (shown["Note"] == "").sum() == len(table) - 2


def test_columns_without_any_value_are_left_out():
    table = pd.DataFrame([{"system_a": "x", "system_b": "y", "metric": "rsa", "directed": False, "score": -1e-5}])
    shown = table_rows(written(table))
    assert list(shown.columns) == ["Systems", "Metric", "Space", "Score"]
    assert shown["Score"][0] == "0.000"


def test_one_sided_numbers_keep_their_place():
    table = scores([("a", "b")], control=False).assign(fvu_a=np.nan)
    assert table_rows(written(table))["FVU a, b"][0] == "–, 0.110"


def test_sentences_warnings_and_settings_are_shown():
    page = written(
        scores([("a", "b")]),
        sentences=["It rose.", "It fell."],
        warnings=["One unit carries 60 %."],
        settings={"seed": 3, "versions": {"torch": "2.13"}, "inputs": ["a.npy", "b.npy"], "groups": None},
    )
    text = "".join(Reader(page).text)
    for piece in ["It rose.", "It fell.", "One unit carries 60 %.", "versions.torch", "2.13", "a.npy, b.npy"]:
        assert piece in text
    assert '<section class="warnings"' in page
    calm = written(scores([("a", "b")]))
    assert "No warnings." in "".join(Reader(calm).text)
    assert '<section class="warnings"' not in calm


def test_hostile_text_stays_text():
    table = scores([(HOSTILE, "b")])
    table.loc[0, "why"] = HOSTILE
    page = written(table, title=HOSTILE, sentences=[HOSTILE], warnings=[HOSTILE], settings={HOSTILE: HOSTILE})
    tags = [tag for tag, _ in Reader(page).tags]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attributes in Reader(page).tags for name in attributes)
    assert "".join(Reader(page).text).count('console.error("run")') > 5


def test_the_page_refers_to_nothing_outside():
    page = written(scores([("a", "b")]))
    assert external(page) == []
    hosts = set(re.findall(r"https?://[\w.-]+", page))
    assert hosts == {"http://www.w3.org"}  # names of the SVG and XLink namespaces, which nobody loads


def test_the_search_for_references_finds_planted_ones():
    for planted in ['<img src="https://x.org/a.png">', "<style>@import '//x.org/a.css'</style>",
                    "<style>p{background:url(http://x.org/a)}</style>", '<a href="page.html">']:  # fmt: skip
        assert external(planted)


def test_the_chart_holds_the_table():
    table = scores([("a", "b")])
    table.loc[0, "score"] = np.nan
    specification = report.chart(plots.tidy(table))
    assert "$schema" not in specification
    points = [point for data in specification["datasets"].values() for point in data]
    assert len(points) == len(table)
    drawn = sorted(point["score"] for point in points if point["score"] is not None)
    np.testing.assert_allclose(drawn, sorted(table.score.dropna()), rtol=1e-4)
    assert [block["title"] for block in specification["vconcat"]] == ["debiased CKA", "held-out r"]


def test_the_chart_shows_what_there_is_without_the_main_metrics():
    table = scores([("a", "b")]).assign(metric="procrustes", space="dream", fit="")
    table.loc[table.control != "none", "control"] = "asleep"
    page = written(table)
    specification = json.loads(re.search(r"window\.chart = (.*?);</script>", page)[1])
    assert [block["title"] for block in specification["vconcat"]] == ["procrustes"]
    legend = specification["vconcat"][0]["layer"][3]["encoding"]["shape"]["scale"]["domain"]
    assert legend == ["dream", "asleep"]


@pytest.mark.parametrize("pairs", [30, 500])
def test_the_page_stays_under_two_megabytes(pairs, tmp_path):
    table = scores([(f"the first network, layer {i}", f"the second network, layer {i}") for i in range(pairs)])
    path = report.write(
        tmp_path / "report.html", title="", sentences=[], warnings=[], table=table, settings={"seed": 0}
    )
    assert path.stat().st_size <= 2_000_000
    cut = f"of {len(table):,} scores; the saved table holds all of them." in path.read_text()
    assert cut == (pairs == 500)
    assert os.listdir(tmp_path) == ["report.html"]


def test_the_same_input_gives_the_same_bytes():
    assert written(scores([("a", "b")])) == written(scores([("a", "b")]))


def test_a_table_without_its_columns_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"lacks the column\(s\) system_a, system_b"):
        report.write(tmp_path / "r.html", title="", sentences=[], warnings=[], table=pd.DataFrame(), settings={})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_is_a_page_too():
    page = written(scores([("a", "b")]).iloc[:0])
    assert "0 scores." in page


@pytest.fixture
def chromium():
    """Return the path of a Chromium; without one the test is skipped on a desk, and fails in CI."""
    found = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if found is None:
        said = "no Chromium found: apt-get install --no-install-recommends chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(said)
    return found


def opened(chromium, path, profile):
    """Open a page in headless Chromium; return its document after scripts ran, and the lines of its console."""
    command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


@pytest.mark.browser
def test_the_report_opens_offline_in_a_browser(chromium, tmp_path):
    table = scores([("a", "b"), (HOSTILE, "$c_1$"), ("a", HOSTILE)])
    table.loc[2, ["score", "low", "high"]] = np.nan
    path = report.write(
        tmp_path / "report.html", title=HOSTILE, sentences=[HOSTILE], warnings=[], table=table, settings={}
    )
    document, console = opened(chromium, path, tmp_path / "profile")
    assert console == []
    svg = document[document.index("<svg") : document.index("</svg>")]
    assert svg.count("mark-symbol") >= 2
    assert "not computed" in svg
    assert "could not be drawn" not in re.sub(r"<script.*?</script>", "", document, flags=re.S)
    assert external(document) == []


@pytest.mark.browser
def test_the_browser_test_notices_an_error_and_a_refused_script(chromium, tmp_path):
    page = written(scores([("a", "b")])).replace("</main>", "</main><script>console.error('planted')</script>")
    (tmp_path / "refused.html").write_text(page)
    _, console = opened(chromium, tmp_path / "refused.html", tmp_path / "one")
    assert any("Content Security Policy" in line for line in console)
    (tmp_path / "broken.html").write_text("<script>console.error('planted')</script>")
    _, console = opened(chromium, tmp_path / "broken.html", tmp_path / "two")
    assert any("planted" in line for line in console)

"""The report: one file that refers to nothing outside itself, shows every score, and trusts no name."""

import base64
import hashlib
import html
import json
import os
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from plotted import scores
from reports import invented

import superpose as sp
from superpose import report
from superpose.files import DataError
from superpose.report import differences, pairs, tables

HOSTILE = '</script><script>console.error("run")</script><img src=x onerror=console.error(1)>"\'&'


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


def table_rows(page, name="scores"):
    """Return a table of the page as a data frame of what its cells show."""
    start = page.index(f'data-name="{name}"')
    body = page[page.index("<table", start) : page.index("</table>", start)]
    cells = re.findall(r"<tr>(.*?)</tr>", body, flags=re.S)
    values = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, flags=re.S) for line in cells]
    return pd.DataFrame(values[1:], columns=values[0]).map(lambda cell: re.sub(r"<.*?>", "", cell))


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
        "10,000", "384, 192", "0.080, 0.110", "1.0\u00a0%, 0.0\u00a0%", "32.0, 31.5", "0.410"]  # fmt: skip


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
    assert list(shown.columns) == ["Systems", "Metric", "Space", "Plot", "Score"]
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
    content = invented([HOSTILE, "b", "$x ${y}"], features=3) | {"title": HOSTILE}
    for text in (page, report.page(**content), report.page(**content | {"table": None})):
        tags = [tag for tag, _ in Reader(text).tags]
        assert tags.count("script") == 1
        assert "img" not in tags
        assert not any(name.startswith("on") for _, attributes in Reader(text).tags for name in attributes)
        assert "".join(Reader(text).text).count('console.error("run")') > 5


def test_the_page_allows_its_own_script_alone():
    page = report.page(**invented(["a", "b"]))
    script = page[page.rindex("<script>") + 8 : page.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in page
    assert "default-src 'none'" in page


def test_the_page_refers_to_nothing_outside():
    page = report.page(**invented(["a", "b", "c"]))
    assert external(page) == []
    hosts = set(re.findall(r"https?://[\w.-]+", page))
    assert hosts == set()


def test_the_search_for_references_finds_planted_ones():
    for planted in ['<img src="https://x.org/a.png">', "<style>@import '//x.org/a.css'</style>",
                    "<style>p{background:url(http://x.org/a)}</style>", '<a href="page.html">']:  # fmt: skip
        assert external(planted)


@pytest.fixture(scope="module")
def parts():
    return invented(["left", "right"])


class TestContent:
    def test_the_verdict_leads(self, parts):
        text = "".join(Reader(report.page(**parts)).text)
        row = parts["content"].iloc[0]
        first, second = row.told
        assert text.index(row.verdict) < text.index(first) < text.index(second) < text.index("Warnings")
        assert text.index("Raw = content × packing.") < text.index(parts["sentences"][0]) < text.index("Warnings")

    def test_numbers_of_the_decomposition_are_those_of_the_table(self, parts):
        row = parts["content"].iloc[0]
        shown = table_rows(report.page(**parts), "content").iloc[0]
        assert shown["Content"] == f"{row.content:.2f} [{row.content_low:.2f},\u00a0{row.content_high:.2f}]"
        assert (shown["Packed"], shown["Raw"]) == (f"{row.packed:.2f}", f"{row.raw:.2f}")
        assert shown["a&#x27;s held by b"] == f"{100 * row.held_by_b:.0f}\u00a0%"
        assert shown["Unexplained"] == "−0.02"

    def test_every_feature_of_two_systems_is_in_the_browser(self, parts):
        shown = table_rows(report.page(**parts), "features")
        features = parts["features"]
        assert len(shown) == len(features) == 80
        assert (shown["Where"] == "shared").sum() == features.held.sum()
        assert set(zip(shown["System"], shown["Feature"], strict=True)) == set(
            zip(features.system, features.feature.astype(str), strict=True)
        )
        strength = shown["Strength"].str.rstrip("%").astype(float)
        assert strength.is_monotonic_decreasing
        assert shown["Strongest samples"].str.startswith("word ").all()

    def test_a_feature_that_its_system_does_not_predict_is_neither(self, parts):
        features = parts["features"].assign(assessable=False)
        assert set(table_rows(report.page(**parts | {"features": features}), "features")["Where"]) == {"not assessable"}

    def test_dots_are_the_features(self, parts):
        page = report.page(**parts)
        held = parts["features"].groupby("system", sort=False).held.sum()
        for name, other in (("left", "right"), ("right", "left")):
            assert f"40 features of {name}: {held[name]} held by {other} (dots), {40 - held[name]} not" in page
        filled = re.findall(r'class="dots" d="(.*?)"', page)
        assert [path.count("M") for path in filled] == list(held)

    def test_of_many_systems_the_strongest_features_once_each(self):
        names = [f"layer {i}" for i in range(12)]
        parts = invented(names, features=300)
        shown = table_rows(report.page(**parts), "features")
        assert not shown.duplicated(["System", "Feature"]).any()
        assert set(shown["System"]) == set(names)
        features = parts["features"]
        one = features[(features.system == "layer 3") & (features.feature == 0)]
        row = shown[(shown["System"] == "layer 3") & (shown["Feature"] == "0")].iloc[0]
        assert row["Held by"] == f"{one.held.sum()} of 11"
        assert row["Other"] == one.loc[one.r_other.idxmax()].other

    def test_content_alone(self, parts):
        page = report.page(**parts | {"table": None, "sentences": []})
        assert "Scores" not in re.findall(r"<h2.*?>(.*?)</h2>", page)
        assert 'data-name="features"' in page

    def test_cells_of_the_matrices_open_their_pair(self):
        parts = invented(["a", "b", "c", "d"])
        page = report.page(**parts)
        names = re.findall(r'class="matrix" data-name="(.*?)"', page)
        assert names[:3] == ["Verdict", "Features of the row that the column holds", "Content"]
        assert names[3:] == ["Raw debiased CKA", "Raw held-out r, row predicts column"]
        for name in names:
            start = page.index(f'class="matrix" data-name="{name}"')
            rows = re.findall(r"<tr><th scope=\"row\"[^>]*>(.*?)</tr>", page[start : page.index("</table>", start)])
            targets = np.array([re.findall(r"<td.*?</td>", row) for row in rows])
            places = np.array([[re.findall(r"#pair-(\d+)", cell) for cell in row] for row in targets], dtype=object)
            couples = [(a, b) for a in range(4) for b in range(a + 1, 4)]
            for place, (a, b) in enumerate(couples):
                assert places[a][b] == places[b][a] == [str(place)]
            assert not any(places[i][i] for i in range(4))
        held = parts["content"].iloc[0]
        start = page.index('data-name="Features of the row')
        first = re.findall(r"<a[^>]*>(.*?)</a>", page[start : page.index("</table>", start)])[0]
        assert first == f"{held.held_by_b:.2f}".replace("0.", ".")

    def test_heads_of_matrices_leave_out_what_all_names_begin_with(self):
        page = report.page(**invented([f"a network of a long name, layer {i}" for i in range(4)]))
        heads = re.findall(r'<tr><th scope="row" title="(.*?)">(.*?)</th>', page)[:4]
        assert heads == [(f"a network of a long name, layer {i}", f"{i + 1}\u00a0layer {i}") for i in range(4)]
        assert "Verdict; names omit their common start, “a network of a long name,”" in page
        assert "names are without" not in report.page(**invented(["V1", "V2", "V4"]))

    def test_methods_say_what_was_done_and_cite_it(self, parts):
        text = "".join(Reader(report.page(**parts)).text)
        assert "Of 500 samples, 100 were held out" in text
        assert "999 permutations; the smallest possible is 0.001" in text
        assert "Benjamini, Y. & Hochberg, Y. (1995)" in text
        assert "arXiv:2604.00208" in text
        raw = "".join(Reader(report.page(**parts | {"content": None, "features": None})).text)
        assert "Benjamini" not in raw
        assert "sparse dictionaries" not in raw


def contrasted():
    rows = [("one", "two", 0.2, 0.01), ("one", "three", -0.05, 0.6)]
    return pd.DataFrame(
        [
            {"target": "V4", "system_a": a, "system_b": b, "metric": "rsa", "directed": False, "score_a": 0.5,
             "score_b": 0.5 - d, "difference": d, "low": d - 0.1, "high": d + 0.1, "error": 0.05, "p": p,
             "p_adjusted": p, "samples": 100, "why": ""}
            for a, b, d, p in rows
        ]
    )  # fmt: skip


class TestContrasts:
    def test_each_difference_is_said_and_drawn(self, tmp_path):
        contrasted().to_parquet(tmp_path / "contrast.parquet")
        page = written(None, contrasts=tmp_path / "contrast.parquet", beside={"contrast": ["contrast.parquet"]})
        text = "".join(Reader(page).text)
        assert "one is closer to V4 than two by RSA (0.500 against 0.300, p = .01)." in text
        assert "one and three do not differ significantly in closeness" in text
        shown = table_rows(page, "contrast")
        assert list(shown["Systems"]) == ["one − two", "one − three"]
        assert list(shown["Difference"]) == ["+0.200", "−0.050"]
        # The widest interval, .3, is one end; 0 is the middle.
        assert re.findall(r'class="m (raw|other)" style="left:([\d.]+)%', page) == [("raw", "83.3"), ("other", "41.7")]
        assert page.count('"scale signed"') == 2
        assert "Holm, S. (1979)" in text
        assert page == written(None, contrasts=contrasted(), beside={"contrast": ["contrast.parquet"]})

    def test_what_is_said_above_is_not_said_again(self):
        said = differences.contrast_sentences(contrasted())
        page = written(None, contrasts=contrasted(), sentences=said)
        assert all(page.count(sentence) == 1 for sentence in said)

    def test_parts(self):
        table = sp.partition(
            dict(zip("abc", np.random.default_rng(0).normal(size=(3, 60, 4)), strict=True)), target="c"
        )
        shown = table_rows(written(None, partition=table), "partition")
        assert list(shown["Part"]) == list(table.part)
        np.testing.assert_allclose(shown["Score"].str.replace("−", "-").astype(float), table.score, atol=5.1e-4)


class TestDictionaries:
    @pytest.fixture
    def table(self):
        table = scores([("left", "right"), ("left", "middle")])
        # The left system's own dictionary is the same whichever side of a pair it is on.
        swapped = table.system_b == "left"
        table.loc[swapped, ["fvu_a", "fvu_b"]] = [0.11, 0.08]
        return table.assign(rare_a=0.0, rare_b=0.0, seed=0)

    def test_each_is_there_once(self, table):
        page = written(table)
        shown = table_rows(page, "dictionaries")
        assert list(zip(shown["System"], shown["Trained with"], strict=True)) == [
            ("left", "right"), ("left", "middle"), ("right", "left"), ("middle", "left")]  # fmt: skip
        assert set(shown["State"]) == {"sound"}
        left = table_rows(page, "dictionaries").iloc[0]
        assert left["Explained"] == "92\u00a0%"
        assert (left["Never active"], left["Active per sample"], left["Latents"]) == ("1.0\u00a0%", "32.0", "384")
        assert "4 of 4 dictionaries are sound." in page
        assert "left: its 2 dictionaries explain 92\u00a0% of the variance of held-out samples; 1\u00a0% of its" in page
        assert "right: its dictionary explains 89\u00a0% of" in page

    def test_one_of_all_systems_is_there_once_a_system(self, table):
        shared = table.assign(fit=table.fit.where(table.fit == "", "all"))
        shown = table_rows(written(shared), "dictionaries")
        assert list(shown["System"]) == ["left", "right", "middle"]
        assert set(shown["Trained with"]) == {"all systems"}

    @pytest.mark.parametrize(
        ("faults", "state"),
        [
            ({"fvu_a": 1.0, "dead_a": 0.9}, "explains nothing"),
            ({"fvu_a": 0.51, "dead_a": 0.9}, "explains little"),
            ({"fvu_a": 0.5, "dead_a": 0.21}, "many dead latents"),
            ({"dead_a": 0.2, "rare_a": 0.06}, "under-trained"),
        ],
    )
    def test_the_gravest_fault_is_named(self, table, faults, state):
        page = written(table[table.system_a == "left"].assign(**faults))
        assert set(table_rows(page, "dictionaries").query("System == 'left'")["State"]) == {state}
        assert f"2 of 4 dictionaries are sound; faults: {state} (2)." in page

    def test_raw_scores_have_none(self):
        assert "Dictionaries" not in re.findall(r"<h2.*?>(.*?)</h2>", written(scores([("a", "b")], spaces=("raw",))))


def test_copies_that_controls_make_are_no_systems():
    table = scores([("a", "b"), ("a", "b, second seed")], control=False)
    table.loc[table.system_b == "b, second seed", "space"] = "two_seeds"
    table.loc[table.system_a == "b, second seed", "space"] = "two_seeds"
    assert 'class="matrix"' not in written(table)


def crowded(systems, features):
    """Return tables in which no number repeats, as those of measurements, with all default metrics."""
    names = [f"a network of a long name, layer {i}" for i in range(systems)]
    parts, draw = invented(names, features=features), np.random.default_rng(1)
    for table, columns in (
        (parts["features"], ["active", "halves", "partner_r", "effect", "within_label", "p", "q"]),
        (parts["content"], ["explained_a", "explained_b", "residual_a", "residual_b", "unexplained"]),
    ):
        table[columns] = draw.uniform(size=(len(table), len(columns)))
    sides = parts["features"]
    own = {name: draw.integers(0, 20_000, (features, 5)).astype(str).tolist() for name in names}
    sides["samples"] = [own[name][feature] for name, feature in zip(sides.system, sides.feature, strict=True)]
    table = pd.concat([parts["table"].assign(metric=lambda rows, i=i: rows.metric + "_more" * i) for i in range(3)])
    numbers = ["score", "low", "high", "null", "null_low", "null_high", "p"]
    table[numbers] = draw.uniform(size=(len(table), len(numbers)))
    return parts | {"table": table}


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize(("systems", "features"), [(2, 40), (2, 2_000), pytest.param(36, 200, marks=pytest.mark.slow)])
def test_size(systems, features, told, tmp_path):
    """At most 2 MB, also where each sample is a text of its own."""
    draw = np.random.default_rng(0)
    texts = [" ".join(f"word{i}" for i in draw.integers(0, 3_000, 20)) for _ in range(20_000)] if told else []
    stimuli = {str(i): report.Passage(text, 40, 47) for i, text in enumerate(texts)}
    path = report.write(tmp_path / "report.html", **crowded(systems, features), stimuli=stimuli)
    assert path.stat().st_size <= 2_000_000
    assert os.listdir(tmp_path) == ["report.html"]


def unpacked(page, name=""):
    """Return what parts of a page hold that its script unpacks, in their order."""
    found = re.findall(rf'class="packed"{name and f" id={chr(34)}{name}{chr(34)}"}>(.*?)</script>', page)
    return [json.loads(zlib.decompress(base64.b64decode(data), -zlib.MAX_WBITS)) for data in found]


class TestStimuli:
    @pytest.fixture
    def stimuli(self, tmp_path):
        Image.new("RGB", (400, 200), "red").save(tmp_path / "wide.png")
        Image.new("L", (10, 20), 128).save(tmp_path / "small.png")
        (tmp_path / "torn.png").write_bytes(b"no picture")
        pictures = {f"word {i}": tmp_path / f"{('wide', 'small', 'torn')[i]}.png" for i in range(3)}
        return pictures | {
            "dog": report.Passage("the <dog> barks", 3, 9),
            "word 4": report.Passage("x" * 200, 100, 101),
        }

    def test_pictures_are_small_files_beside_the_page(self, parts, stimuli, tmp_path):
        page = report.write(tmp_path / "page.html", **parts, stimuli=stimuli).read_text(encoding="utf-8")
        sizes = {}
        for tag, attributes in Reader(page).tags:
            if tag == "img":
                with Image.open(tmp_path / attributes["src"]) as opened:
                    assert opened.size == (int(attributes["width"]), int(attributes["height"]))
                    sizes[attributes["alt"]] = opened.size
        assert sizes == {"word 0": (96, 48), "word 1": (10, 20)}
        assert sorted(path.name for path in (tmp_path / "page-files").iterdir()) == ["0000.webp", "0001.webp"]
        assert "img-src 'self' file:;" in page
        # What cannot be read is named.
        assert "<li>word 2</li>" in page

    def test_texts_are_cut_around_what_is_marked(self, parts, stimuli, tmp_path):
        page = report.write(tmp_path / "page.html", **parts, stimuli=stimuli).read_text(encoding="utf-8")
        assert "<li>the <mark>&lt;dog&gt;</mark> barks</li>" in page
        assert f"<li>…{'x' * 28}<mark>x</mark>{'x' * 28}…</li>" in page

    def test_thumbnails_of_an_earlier_page_go(self, parts, stimuli, tmp_path):
        (tmp_path / "page-files").mkdir()
        for name in ("0007.webp", "mine.webp"):
            (tmp_path / "page-files" / name).write_bytes(b"")
        report.write(tmp_path / "page.html", **parts, stimuli=stimuli)
        left = {path.name for path in (tmp_path / "page-files").iterdir()}
        assert left == {"0000.webp", "0001.webp", "mine.webp"}

    def test_there_are_at_most_so_many(self, parts, stimuli, tmp_path, monkeypatch):
        monkeypatch.setattr("superpose.report.stimuli.MOST", 1)
        report.write(tmp_path / "page.html", **parts, stimuli=stimuli)
        assert [path.name for path in (tmp_path / "page-files").iterdir()] == ["0000.webp"]

    def test_of_many_systems_too(self, stimuli, tmp_path):
        page = report.write(tmp_path / "page.html", **invented([f"layer {i}" for i in range(8)]), stimuli=stimuli)
        (value,) = unpacked(page.read_text(encoding="utf-8"), "pairs-packed")
        assert value["samples"][0].count('src="page-files/0000.webp"') == 1
        # Each list of samples is there once, and shown in every panel that has its feature.
        assert len(value["samples"]) == 5
        assert all(panel.count('data-kept="0"') == 2 for panel in value["panels"])

    def test_without_any_it_is_one_file(self, parts, tmp_path):
        page = report.write(tmp_path / "page.html", **parts)
        assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
        assert "img-src 'none';" in page.read_text(encoding="utf-8")


def test_pairs_of_many_systems_are_packed_whole():
    names = [f"layer {i}" for i in range(8)]
    parts = invented(names)
    page = report.page(**parts)
    (value,) = unpacked(page, "pairs-packed")
    assert value["systems"] == names
    assert value["couples"] == [[a, b] for a in range(8) for b in range(a + 1, 8)]
    for row, panel in zip(parts["content"].itertuples(), value["panels"], strict=True):
        assert f"<h3>{row.system_a} and {row.system_b} " in panel
        assert all(html.escape(text) in panel for text in row.told)
        assert panel.count('class="dots"') == 2
        strongest = table_rows(panel, f"features of {row.system_a} and {row.system_b}")
        assert list(strongest["System"]) == [row.system_a] * 5 + [row.system_b] * 5
        assert list(strongest["Feature"]) == [*"01234"] * 2


def test_panels_that_take_too_much_hold_less(monkeypatch):
    parts = invented([f"layer {i}" for i in range(8)], features=120)
    (full,) = unpacked(report.page(**parts), "pairs-packed")
    assert full["panels"][0].count("h0") == 200
    monkeypatch.setattr(pairs, "PANELS", 1_000)
    (less,) = unpacked(report.page(**parts), "pairs-packed")
    assert "10 strongest features of layer 0" in less["panels"][0]
    assert less["panels"][0].count("h0") == 20
    assert "strongest features of this pair" not in less["panels"][0]


def test_rows_beyond_the_first_are_packed(monkeypatch):
    table = scores([(f"the first network, layer {i}", f"the second network, layer {i}") for i in range(200)])
    table = table.drop(columns=["fvu_a", "fvu_b"])
    page = written(table)
    rest = "".join(unpacked(page))
    shown = len(table_rows(page))
    assert 100 < shown < len(table) == shown + rest.count("<tr>")
    assert f"{len(table):,} scores." in page
    monkeypatch.setattr(tables, "ROWS", 1_000)
    page = written(table)
    assert len(table_rows(page)) + "".join(unpacked(page)).count("<tr>") == 1_000
    assert f"The first 1,000 of {len(table):,} scores; the table behind this page holds all." in page
    monkeypatch.setattr(tables, "PACKED", 3_000)
    page = written(table)
    (data,) = re.findall(r'class="packed">(.*?)</script>', page)
    assert 2_000 < len(data) <= 3_000
    held = len(table_rows(page)) + "".join(unpacked(page)).count("<tr>")
    assert shown < held < 1_000
    assert f"The first {held} of {len(table):,} scores;" in page


def test_tables_beside_the_page_are_linked(parts):
    beside = {"scores": ["alignment.csv"], "features": ["all features.csv", "features.parquet"]}
    page = report.page(**parts, beside=beside)
    assert external(page) == ["all%20features.csv", "features.parquet", "alignment.csv"]
    text = "".join(Reader(page).text)
    assert "80 features, also in all features.csv and features.parquet." in text
    assert "also in alignment.csv." in text
    assert "1 pair." in text


def test_the_same_input_gives_the_same_bytes():
    assert written(scores([("a", "b")])) == written(scores([("a", "b")]))


def test_a_table_without_its_columns_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"lacks the column\(s\) system_a, system_b"):
        report.write(tmp_path / "r.html", title="", sentences=[], warnings=[], table=pd.DataFrame(), settings={})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_is_a_page_too():
    page = written(scores([("a", "b")]).iloc[:0])
    assert "Scores" not in re.findall(r"<h2.*?>(.*?)</h2>", page)
    assert "One sentence." in page

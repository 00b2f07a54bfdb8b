"""The report in a real browser: no error, nothing fetched, nothing cut off, and every control does what it says."""

import csv
import io
import itertools
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from plotted import scores
from reports import invented

import superpose as sp
from superpose import report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS, THEMES = (1280, 768, 360), ("light", "dark")
HOSTILE = '</script><script>console.error("run")</script><img src=x onerror=console.error(1)>"\'&$c_1$'
LAYERS = [f"a network of a long name, layer {i}" for i in range(36)]
# Whatever reaches beyond the right edge, unless it lies in a region that scrolls.
CUT_OFF = """() => [...document.querySelectorAll("main *")].filter(element => {
  const box = element.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !element.closest(".scroll");
}).map(element => `${element.tagName} ${element.className} ${element.getBoundingClientRect().right}`)"""
# WCAG 2.2: relative luminance of text and of what lies behind it, as blended on the page.
FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const drawn = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const rgba = colour => known.get(colour) ?? known.set(colour, drawn(colour)).get(colour);
  const over = ([r, g, b, a], [x, y, z]) => [r, g, b].map((c, i) => (c * a + [x, y, z][i] * (255 - a)) / 255);
  const luminance = colour => colour.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("option")) continue;
    const back = behind(element);
    const front = over(rgba(getComputedStyle(element).color), back);
    const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const contrast = (light + .05) / (dark + .05);
    if (contrast < 4.5) faint.add(`${element.tagName}.${element.className} ${contrast.toFixed(1)}`);
  }
  return [...faint];
}"""


def missing(what):
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="module")
def browser():
    """Return Debian's Chromium, driven by Playwright; without them tests are skipped on a desk, and fail in CI."""
    path = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if path is None:
        missing("no Chromium found: apt-get install --no-install-recommends chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no Playwright found: pip install playwright")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports of two systems, of which one has a hostile name, and of 36."""
    folder = tmp_path_factory.mktemp("pages")
    names = {2: ["cortex", HOSTILE], 5: LAYERS[:5], 36: LAYERS}
    written = {}
    for count, systems in names.items():
        parts = invented(systems) | ({"title": HOSTILE, "warnings": [HOSTILE]} if count == 2 else {})
        written[count] = report.write(folder / f"{count}.html", **parts)
    return written


@pytest.fixture
def opened(browser):
    """Open pages in contexts of their own; what a page logs or asks for is an error at the end."""
    contexts, heard = [], []

    def open_page(path, width=1280, theme="light", *, ready=True, **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: request.url != path.as_uri() and heard.append(request.url))
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True) and ready:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    open_page.heard = heard
    yield open_page
    for context in contexts:
        context.close()
    # Downloads and hashes of the page itself are no requests to anyone.
    assert [said for said in heard if not said.startswith(("blob:", "file:"))] == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("systems", [2, 36])
def test_nothing_is_cut_off_and_all_text_is_legible(opened, pages, systems, width, theme):
    page = opened(pages[systems], width, theme)
    if systems == 36:
        page.evaluate("location.hash = '#pair-600'")
        page.wait_for_selector("#pair:focus")
    page.locator("summary", has_text="What the columns").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (theme == "dark")
    assert page.evaluate(FAINT) == []


def column(page, grid, heading):
    """Return what the visible rows of a column show."""
    heads = grid.locator("thead th").all_inner_texts()
    place = next(i for i, text in enumerate(heads) if text.startswith(heading))
    cells = "rows => rows.filter(row => !row.hidden).map(row => row.cells[PLACE].textContent)".replace(
        "PLACE", str(place)
    )
    return grid.locator("tbody tr").evaluate_all(cells)


def shares(texts):
    return [float(text.rstrip("%")) for text in texts]


class TestFeatureBrowser:
    @pytest.fixture
    def page(self, opened, pages):
        return opened(pages[2], 768)

    @pytest.fixture
    def grid(self, page):
        return page.locator('[data-name="features"]')

    def test_heads_sort_both_ways_and_say_so(self, page, grid):
        head = grid.locator("thead th", has_text="Strength")
        assert head.get_attribute("aria-sort") == "none"
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        down = shares(column(page, grid, "Strength"))
        assert down == sorted(down, reverse=True)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert shares(column(page, grid, "Strength")) == sorted(down)
        grid.locator("thead th", has_text="Where").get_by_role("button").click()
        assert column(page, grid, "Where") == sorted(column(page, grid, "Where"))
        assert head.get_attribute("aria-sort") == "none"

    def test_filters_and_search_choose_rows(self, page, grid):
        assert len(column(page, grid, "Where")) == 80
        private = column(page, grid, "Where").count("private")
        grid.get_by_label("Where").select_option("private")
        assert column(page, grid, "Where") == ["private"] * private
        assert grid.locator("output").inner_text() == f"{private} of 80 rows"
        grid.get_by_label("System").select_option("cortex")
        assert set(column(page, grid, "System")) == {"cortex"}
        grid.get_by_label("Where").select_option("all")
        grid.get_by_label("Search").fill("word 7")
        # As words: "word 7" is in the names of samples, and 7 elsewhere.
        assert 0 < len(column(page, grid, "Where")) < 40
        grid.get_by_label("Search").fill("no such feature")
        assert column(page, grid, "Where") == []
        assert grid.locator("output").inner_text() == "0 of 80 rows"

    def test_rows_that_are_shown_are_exported(self, page, grid):
        grid.get_by_label("Where").select_option("shared")
        with page.expect_download() as download:
            grid.get_by_role("button", name="Export CSV").click()
        assert download.value.suggested_filename == "features.csv"
        with open(download.value.path(), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(io.StringIO(file.read())))
        assert len(rows) == len(column(page, grid, "Where"))
        assert {row["Where"] for row in rows} == {"shared"}
        assert {row["System"] for row in rows} == {"cortex", HOSTILE}
        assert all(0 <= float(row["Strength"]) <= 0.1 for row in rows)

    def test_by_keyboard_alone(self, page, grid):
        search = grid.get_by_label("Search")
        search.focus()
        page.keyboard.type("private")
        assert set(column(page, grid, "Where")) == {"private"}
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "Strength":
                break
        page.keyboard.press("Enter")
        assert grid.locator("thead th", has_text="Strength").get_attribute("aria-sort") == "descending"


def test_every_control_can_be_used(opened, pages):
    page = opened(pages[2])
    for summary in page.locator("summary").all():
        before = summary.evaluate("element => element.parentElement.open")
        summary.click()
        assert summary.evaluate("element => element.parentElement.open") != before
        summary.click()
    for button in page.locator("thead button").all():
        button.click()
        assert button.locator("xpath=..").get_attribute("aria-sort") != "none"
    for select in page.locator("select").all():
        for value in select.locator("option").evaluate_all("options => options.map(option => option.value)"):
            select.select_option(value)
        select.select_option("")
    for search in page.locator("input[type=search]").all():
        search.fill("x")
        search.fill("")
    for button in page.get_by_role("button", name="Export CSV").all():
        with page.expect_download():
            button.click()
    for button in page.locator(".paste button").all():
        button.click()
        page.wait_for_function("element => element.textContent === 'Copied'", arg=button.element_handle())


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Pages with every part that there is, of two systems and of eight, small enough to audit."""
    folder = tmp_path_factory.mktemp("complete")
    Image.new("RGB", (300, 200), "red").save(folder / "dog.png")
    stimuli = {"dog": folder / "dog.png", "word 0": report.Passage("one word of many", 4, 8)}
    draw = np.random.default_rng(0)
    three = dict(zip("abc", draw.normal(size=(3, 60, 4)), strict=True))
    differences = {"contrasts": sp.contrast(three, target="c"), "partition": sp.partition(three, target="c")}
    written = {}
    for count, names in {2: ["cortex", "network"], 8: [f"layer {i}" for i in range(8)]}.items():
        parts = invented(names, features=8)
        table = scores(itertools.combinations(names[:2], 2))
        written[count] = report.write(
            folder / f"{count}.html", **parts | {"table": table}, **differences, stimuli=stimuli
        )
    return written


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("systems", [2, 8])
def test_an_audit_finds_no_fault(opened, complete, systems, theme):
    """By axe-core: the rules of WCAG 2.2, A and AA, that a program can check, and good practice."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("no axe-core found: pip install axe-playwright-python")
    page = opened(complete[systems], theme=theme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")

    def faults():
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response
        assert len(found["passes"]) > 30
        return [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]

    assert faults() == []
    # It notices a picture without words.
    page.evaluate("['alt', 'title'].forEach(name => document.querySelector('img').removeAttribute(name))")
    assert [fault for fault, _ in faults()] == ["image-alt"]


@pytest.mark.parametrize("systems", [2, 8])
def test_the_tab_key_reaches_everything_once_in_reading_order(opened, complete, systems):
    """Whatever takes the keyboard is reached, has a name for those who hear the page, and shows that it is reached."""
    page = opened(complete[systems])
    everything = "a, button, select, input, summary, [tabindex='0']"
    expected = page.evaluate(
        """selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility() && e.tabIndex >= 0)
            .map((e, place) => { e.dataset.place = place; return place; })""",
        everything,
    )
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in expected:
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => { const e = document.activeElement; return {
                place: Number(e.dataset.place), outline: getComputedStyle(e).outlineStyle,
                name: e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent.trim()}; }""")
        )
    assert [one["place"] for one in reached] == expected
    assert len(expected) > 30
    assert [one for one in reached if not one["name"] or one["outline"] == "none"] == []
    assert page.locator("table").count() == page.locator("table > caption").count()


@pytest.fixture(scope="module")
def illustrated(tmp_path_factory):
    """A page of many systems, whose features are strongest in pictures and in a text."""
    folder = tmp_path_factory.mktemp("illustrated")
    stimuli = {"dog": report.Passage("the dog barks", 4, 7)}
    for i in range(40):
        stimuli[f"word {i}"] = folder / f"{i}.png"
        Image.new("RGB", (300, 200), (6 * i, 100, 50)).save(folder / f"{i}.png")
    parts = invented(LAYERS[:8])
    return report.write(folder / "page.html", **parts, stimuli=stimuli)


class TestStimuli:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_pictures_are_shown(self, opened, illustrated, width):
        page = opened(illustrated, width)
        pictures = page.locator("img:visible")
        assert pictures.count() >= 40
        for picture in (pictures.first, pictures.last):
            picture.scroll_into_view_if_needed()
            # As wide as the thumbnail: it was found, and the page's own policy let it in.
            assert picture.evaluate("element => element.decode().then(() => element.naturalWidth)") == 96
            assert picture.get_attribute("alt").startswith("word ")
        assert page.evaluate(CUT_OFF) == []

    def test_pictures_are_searched_and_exported_by_name(self, opened, illustrated):
        page = opened(illustrated)
        grid = page.locator('[data-name="features"]')
        grid.get_by_label("Search").fill("word 33")
        rows = grid.locator("tbody tr:visible")
        assert rows.count() == 8
        with page.expect_download() as download:
            grid.get_by_role("button", name="Export CSV").click()
        with open(download.value.path(), encoding="utf-8", newline="") as file:
            assert {row["Strongest samples"] for row in csv.DictReader(file)} == {"word 33, the dog barks"}

    @pytest.mark.parametrize("theme", THEMES)
    def test_words_are_marked(self, opened, illustrated, theme):
        page = opened(illustrated, theme=theme)
        assert set(page.locator("mark").all_inner_texts()) == {"dog"}
        assert page.evaluate(FAINT) == []
        grid = page.locator('[data-name="features"]')
        grid.get_by_label("Search").fill("barks")
        assert grid.locator("tbody tr:visible").count() == 320


class TestMatrix:
    def test_a_cell_opens_its_pair(self, opened, pages):
        page = opened(pages[5])
        pair = page.locator("#pair-4")
        assert not pair.is_visible()
        cell = page.locator('.matrix:visible a[href="#pair-4"]').first
        cell.focus()
        page.keyboard.press("Enter")
        pair.wait_for(state="visible")
        page.wait_for_selector("#pair-4:focus")
        assert pair.locator(".decomposition").count() == 1
        # The same cell opens it again.
        page.locator("details.pair[open] > summary").click()
        assert not pair.is_visible()
        cell.click()
        pair.wait_for(state="visible")

    def test_arrows_go_from_cell_to_cell(self, opened, pages):
        page = opened(pages[5])
        matrix = page.locator(".matrix:visible")
        assert matrix.locator("a[tabindex='0']").count() == 1
        matrix.locator("a").first.focus()

        def press(*keys):
            for key in keys:
                page.keyboard.press(key)
            return page.evaluate(
                "(e => [e.closest('tr').sectionRowIndex, e.closest('td').cellIndex - 1])(document.activeElement)"
            )

        assert press("ArrowRight") == [0, 2]
        # The diagonal holds nothing: it is passed over, and so are the edges.
        assert press("ArrowDown") == [1, 2]
        assert press("ArrowDown") == [3, 2]
        assert press("ArrowRight") == [3, 4]
        assert press("ArrowRight", "ArrowDown") == [3, 4]
        assert press("ArrowLeft", "ArrowUp") == [1, 2]
        # The Tab key comes back to where it was.
        page.keyboard.press("Tab")
        page.keyboard.press("Shift+Tab")
        assert matrix.locator("a[tabindex='0']:focus").count() == 1

    def test_of_many_systems_a_cell_shows_its_pair(self, opened, pages):
        page = opened(pages[36])
        pair = page.locator("#pair")
        cell = page.locator('.matrix:visible a[href="#pair-40"]').first
        cell.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#pair:focus")
        # 35 pairs of layer 0 come before those of layer 1, whose sixth is layer 7.
        assert pair.locator("h3").inner_text().startswith(f"{LAYERS[1]} and {LAYERS[7]} ")
        assert pair.locator(".decomposition").count() == 1
        assert pair.locator("svg").count() == 2
        assert pair.locator("tbody tr", has_text="debiased CKA").count() >= 1
        assert page.get_by_label("One system").locator("option:checked").inner_text() == LAYERS[1]

    def test_pairs_are_chosen_by_name(self, opened, pages):
        page = opened(pages[36])
        one, other = page.get_by_label("One system"), page.get_by_label("The other")
        one.select_option(LAYERS[20])
        other.select_option(LAYERS[3])
        heading = page.locator("#pair h3").inner_text()
        assert heading.startswith(f"{LAYERS[3]} and {LAYERS[20]} ")
        assert one.evaluate("element => element.value") != other.evaluate("element => element.value")
        assert LAYERS[20] not in other.locator("option").all_inner_texts()
        # The address is that of the pair, and opens it again.
        page.reload()
        page.wait_for_selector("#pair:focus")
        assert page.locator("#pair h3").inner_text() == heading

    def test_one_matrix_at_a_time(self, opened, pages):
        page = opened(pages[36], 360, "dark")
        select = page.locator("label:has-text('Matrix of') select")
        names = select.locator("option").all_inner_texts()
        assert len(names) == 5
        for name in names:
            select.select_option(label=name)
            visible = page.locator(".matrix:visible")
            assert visible.count() == 1
            assert visible.get_attribute("data-name") == name
            assert visible.locator("a").count() == 36 * 35

    def test_rows_of_content_are_filtered_by_verdict(self, opened, pages):
        page = opened(pages[36])
        grid = page.locator('[data-name="content"]')
        grid.get_by_label("Verdict").select_option("cannot tell")
        assert set(column(page, grid, "Reason")) == {"too little is explained"}


def test_everything_can_be_read_without_scripts(opened, pages):
    page = opened(pages[2], java_script_enabled=False)
    assert page.locator('[data-name="features"] tbody tr').count() == 80
    assert page.locator(".decomposition").is_visible()
    assert page.locator("button, select, input").count() == 0


def test_of_many_systems_the_verdicts_can_be_read_without_scripts(opened, pages):
    page = opened(pages[36], java_script_enabled=False)
    assert page.locator(".matrix:visible a").count() == 36 * 35
    assert page.locator('[data-name="content"] tbody tr').count() > 100
    assert page.locator("noscript p:visible").count() == 4
    assert page.locator("button, select, input").count() == 0


def test_rows_that_are_packed_are_there_to_search(opened, pages):
    page = opened(pages[36])
    grid = page.locator('[data-name="content"]')
    assert grid.locator("tbody tr").count() == 630
    grid.get_by_label("Search").fill("34 35")
    assert f"{LAYERS[34]} – {LAYERS[35]}" in column(page, grid, "Pair")


def test_errors_and_requests_are_noticed(opened, pages, tmp_path):
    text = pages[2].read_text(encoding="utf-8")
    planted = {
        "refused": "<script>console.error('planted')</script>",
        "asked": '<img src="https://nowhere.invalid/a.png">',
    }
    for name, piece in planted.items():
        (tmp_path / f"{name}.html").write_text(text.replace("</main>", f"</main>{piece}"), encoding="utf-8")
        opened(tmp_path / f"{name}.html").wait_for_timeout(0)
        assert any(re.search("Content Security Policy|violates", said) for said in opened.heard), name
        opened.heard.clear()
    faulty = "<p style='color: #999'>faint</p><div style='width: 3000px'>wide</div></main>"
    (tmp_path / "faulty.html").write_text(text.replace("</main>", faulty), encoding="utf-8")
    page = opened(tmp_path / "faulty.html")
    assert [said.split()[0] for said in page.evaluate(FAINT)] == ["P."]
    assert [said.split()[0] for said in page.evaluate(CUT_OFF)] == ["DIV"]
    assert page.evaluate("document.documentElement.scrollWidth") > 1280
    (tmp_path / "broken.html").write_text("<script>console.error('planted')</script>")
    opened(tmp_path / "broken.html", ready=False)
    assert opened.heard == ["planted"]
    opened.heard.clear()

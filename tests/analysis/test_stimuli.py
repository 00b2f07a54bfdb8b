"""What samples are: pictures and passages that `superpose extract` recorded, or pictures that are named."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from extracting import extracted
from PIL import Image

from superpose import cli
from superpose.analysis.stimuli import pictures_of, row_names, stimuli_of
from superpose.examples import demo
from superpose.files import DataError
from superpose.report import Passage


@pytest.fixture
def pictures(tmp_path):
    for name in ("a/cat.png", "a/dog.jpg", "b/cat.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), "red").save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def recorded(folder, inputs, names=(), spans=None, record=None):
    """Record what a folder of layers is of, as the command does."""
    for name, texts in (("stimuli.txt", names or inputs), ("inputs.txt", inputs if names else ())):
        if texts:
            (folder / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    if spans is not None:
        np.save(folder / "spans.npy", np.array(spans, dtype=np.int32))
    (folder / "extract.json").write_text(json.dumps(record))
    return [folder / "first.npy", folder / "second.npy"]


def test_rows_are_called_by_stimulus_else_by_number_and_label(tmp_path):
    files, labels = [tmp_path / "a.npy", tmp_path / "b.npy"], np.array(["cat", "dog"])
    assert row_names(files, ["s1", "s2"], labels) == ["s1", "s2"]
    assert row_names(files, None, labels) == ["0: cat", "1: dog"]
    assert row_names(files, None, None) is None
    # Extracted layers know the passage of each row by its number.
    extracted(tmp_path / "net", 2, names=False)
    assert row_names([tmp_path / "net"], None, labels) is None


NAMES = ["a/cat.png", "a/dog.jpg", "b/cat.png"]
SENTENCES = ["a cat sees", "dogs"]


class TestPictures:
    def test_by_path_and_by_name_where_that_is_one_picture(self, pictures):
        found = pictures_of(pictures)
        assert found == {
            **{name: pictures / name for name in NAMES},
            "dog.jpg": pictures / "a/dog.jpg",
            "dog": pictures / "a/dog.jpg",
        }

    def test_a_folder_without_any_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="holds no pictures"):
            pictures_of(tmp_path)

    @pytest.mark.parametrize("key", ["location", "inputs"])
    def test_of_layers_that_were_extracted(self, tmp_path, pictures, key):
        files = recorded(extracted(tmp_path / "net", 1, samples=3), NAMES, record={key: str(pictures)})
        found = stimuli_of(files, ["a/dog.jpg", "b/cat.png", "none"], labelled=True, pictures={})
        assert found == {name: pictures / name for name in NAMES[1:]}

    def test_under_ids_of_their_own(self, tmp_path, pictures):
        folder = extracted(tmp_path / "net", 1, samples=3)
        files = recorded(folder, NAMES, ["s1", "s2", "s3"], record={"location": str(pictures)})
        assert stimuli_of(files, ["s2"], labelled=True, pictures={}) == {"s2": pictures / "a/dog.jpg"}

    def test_of_several_rows_a_sample_by_number(self, tmp_path, pictures):
        files = recorded(extracted(tmp_path / "net", 4, samples=3), NAMES, record={"location": str(pictures)})
        found = stimuli_of(files, ["0", "7"], labelled=False, pictures={})
        assert found == {"0": pictures / NAMES[0], "7": pictures / NAMES[1]}

    def test_those_that_are_given_come_first(self, tmp_path, pictures):
        files = recorded(extracted(tmp_path / "net", 1, samples=3), NAMES, record={"location": "gone"})
        other = tmp_path / "other.png"
        assert stimuli_of(files, NAMES, labelled=True, pictures={NAMES[0]: other}) == {NAMES[0]: other}
        assert stimuli_of(files, ["0"], labelled=False, pictures={"0": other}) == {}
        assert stimuli_of([tmp_path / "V4.npy"], ["x"], labelled=True, pictures={"x": other}) == {"x": other}


def test_the_command_shows_the_pictures_of_a_folder(tmp_path, monkeypatch):
    """Two packings of the same sparse features: the strongest samples of each are pictures, where there is one."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    z = (draw.random((1_500, 16)) < 0.1) * draw.exponential(size=(1_500, 16))
    for name in ("V1", "V4"):
        x = pd.DataFrame(z @ draw.normal(size=(16, 12)), columns=[f"unit {i}" for i in range(12)])
        x.insert(0, "stimulus", [f"picture {i}" for i in range(1_500)])
        x.to_parquet(f"{name}.parquet", index=False)
    (tmp_path / "pictures").mkdir()
    for i in range(0, 1_500, 2):
        Image.new("RGB", (20, 20), (i % 256, 0, 0)).save(tmp_path / "pictures" / f"picture {i}.png")
    asked = ["compare", "V1.parquet", "V4.parquet", "--pictures", "pictures", "--out", "out", "--permutations", "9"]
    assert cli.main(asked) == 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    features = pd.read_parquet("out/features.parquet")
    names = {str(name) for strongest in features.samples for name in strongest}
    even = {name for name in names if int(name.split()[1]) % 2 == 0}
    assert 10 < len(even) < len(names)
    assert set(re.findall(r'<img src="report-files/\d{4}\.webp" alt="(.*?)"', page)) == even
    assert len(list((tmp_path / "out/report-files").iterdir())) == len(even)
    assert set(re.findall("<li>(picture .*?)</li>", page)) == names - even
    assert '<a href="features.csv">features.csv</a> and <a href="features.parquet">' in page


def test_the_demo_marks_its_tokens():
    assert demo.passage("[the] fea") == Passage("the fea", 0, 3)
    assert demo.passage("fea[ture] is") == Passage("feature is", 3, 7)


class TestPassages:
    SPANS = ((0, 1), (2, 5), (6, 10), (0, 4), (-1, -1), (0, 0))

    def test_with_the_token_of_a_row(self, tmp_path):
        files = recorded(
            extracted(tmp_path / "net", 3, samples=2), SENTENCES, spans=self.SPANS, record={"location": "words.txt"}
        )
        found = stimuli_of(files, ["1", "3", "4"], labelled=False, pictures={})
        assert found == {"1": Passage("a cat sees", 2, 5), "3": Passage("dogs", 0, 4), "4": Passage("dogs")}

    def test_of_stores_of_old(self, tmp_path):
        """Those know no spans, and no location."""
        files = recorded(extracted(tmp_path / "net", 3, samples=2), SENTENCES, record={"inputs": "words.txt"})
        assert stimuli_of(files, ["3"], labelled=False, pictures={}) == {"3": Passage("dogs")}

    @pytest.mark.parametrize("damage", ["{", "[]", '{"location": 3}'])
    def test_what_is_damaged_is_not_known(self, tmp_path, damage):
        files = recorded(extracted(tmp_path / "net", 1, samples=2), SENTENCES, record={})
        (tmp_path / "net/extract.json").write_text(damage)
        assert stimuli_of(files, ["dogs"], labelled=True, pictures={}) == {}

"""Pictures as inputs of vision models, against the image processors of transformers."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from superpose.files import DataError
from superpose.models import PREPARATIONS, activations, images, preparation

transformers = pytest.importorskip("transformers")
PROCESSORS = {
    "clip": lambda: transformers.CLIPImageProcessor(),
    "vit": lambda: transformers.ViTImageProcessor(),
    "dino": lambda: transformers.ViTImageProcessor(image_mean=IMAGENET[0], image_std=IMAGENET[1]),
    "dinov2": lambda: transformers.BitImageProcessor(
        size={"shortest_edge": 256}, image_mean=IMAGENET[0], image_std=IMAGENET[1]
    ),
    "clip, crop beyond the picture": lambda: transformers.CLIPImageProcessor(
        size={"shortest_edge": 60}, crop_size={"height": 75, "width": 64}
    ),
    "no crop, no norm": lambda: transformers.CLIPImageProcessor(
        size={"height": 33, "width": 41}, do_center_crop=False, do_normalize=False, resample=2
    ),
    "as they are": lambda: transformers.BitImageProcessor(
        do_resize=False, do_rescale=False, crop_size={"height": 50, "width": 51}
    ),
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
SIZES = {"wide.jpg": (301, 200), "a/tall.png": (97, 256), "a/b/tiny.png": (40, 31), "square.bmp": (224, 224)}


@pytest.fixture
def folder(tmp_path):
    """Pictures of smooth noise, some in folders, and what is not a picture beside them."""
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, size=(9, 12, 3), dtype=np.uint8)
        fine = np.asarray(Image.fromarray(coarse).resize((width, height))).astype(int) + rng.integers(
            0, 40, (height, width, 3)
        )
        Image.fromarray(fine.clip(0, 255).astype(np.uint8)).save(file)
    (tmp_path / "pictures" / "labels.txt").write_text("cat")
    (tmp_path / "pictures" / "._wide.jpg").write_text("resource fork")
    return tmp_path / "pictures"


def saved(processor, path):
    processor.save_pretrained(path)
    return preparation(path / "preprocessor_config.json")


@pytest.mark.parametrize("name", PROCESSORS)
def test_prepared_as_the_reference_processors_do(folder, tmp_path, name):
    processor = PROCESSORS[name]()
    followed = saved(processor, tmp_path / "saved")
    if name in PREPARATIONS:
        assert followed == PREPARATIONS[name]
    for file in SIZES:
        found = images(folder, followed)
        ours = found[np.array([found.names.index(file)])]
        reference = processor(Image.open(folder / file), return_tensors="np")["pixel_values"]
        assert ours.dtype == np.float32
        # One grey level of 255 after interpolation, over the smallest standard deviation, is 0.0175; it is not used up.
        np.testing.assert_allclose(ours, reference, atol=1e-5 * (1 if processor.do_rescale else 255))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_other_kinds_of_pictures(tmp_path, mode):
    """Grey becomes three equal channels, and what is transparent lies on white."""
    rng = np.random.default_rng(1)
    made = Image.fromarray(rng.integers(0, 256, size=(40, 40, 4), dtype=np.uint8), "RGBA")
    made = (
        Image.fromarray(rng.integers(0, 2**16, size=(40, 40)).astype(np.uint16))
        if mode == "I;16"
        else made.convert(mode)
    )
    path = tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}"
    made.save(path)
    ours = images(tmp_path, PREPARATIONS["clip"])[np.array([0])]
    reference = transformers.CLIPImageProcessor()(Image.open(path), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_a_folder_of_class_folders_in_order(folder):
    found = images(folder, PREPARATIONS["vit"])
    assert found.names == ("a/b/tiny.png", "a/tall.png", "square.bmp", "wide.jpg")
    assert len(found) == 4
    assert found[np.array([1, 3])].shape == (2, 3, 224, 224)


def test_the_digest_is_of_names_files_and_preparation(folder):
    sound = images(folder, PREPARATIONS["vit"])
    digests = {sound.digest(), images(folder, PREPARATIONS["clip"]).digest()}
    digests.add(replace(sound, names=sound.names[:3]).digest())
    assert images(folder, PREPARATIONS["vit"]).digest() == sound.digest()
    (folder / "square.bmp").rename(folder / "squint.bmp")
    digests.add(images(folder, PREPARATIONS["vit"]).digest())
    Image.new("RGB", (9, 9)).save(folder / "squint.bmp")
    digests.add(images(folder, PREPARATIONS["vit"]).digest())
    assert len(digests) == 5


def test_activations_of_a_folder_never_hold_it(folder, tmp_path, monkeypatch):
    import superpose.models.pictures as module

    read = []
    genuine = module.prepare
    monkeypatch.setattr(module, "prepare", lambda path, how: read.append(path.name) or genuine(path, how))
    net = torch.nn.Conv2d(3, 4, 16, 16)
    source = images(folder, PREPARATIONS["clip"])
    before_second_batch = []
    net.register_forward_hook(lambda *at: before_second_batch.append(len(read)))
    found = activations(net, source, {"patches": ""}, tokens="mean", batch=2, store=tmp_path / "store")
    assert before_second_batch == [2, 4]
    with torch.no_grad():
        expected = net(torch.tensor(source[np.arange(4)])).mean(dim=(2, 3))
    np.testing.assert_allclose(found.layers["patches"], expected, atol=1e-5)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "huge"])
def test_a_broken_picture_is_named(folder, damage):
    file = folder / "a" / "tall.png"
    sound = file.read_bytes()
    header = sound[:16] + (2**16).to_bytes(4, "big") + (2**16).to_bytes(4, "big") + sound[24:]
    file.write_bytes({"empty": b"", "text": b"not a picture", "cut": sound[: len(sound) // 2], "huge": header}[damage])
    with pytest.raises(DataError, match=r"a/tall\.png cannot be read as a picture .*; mend it or take it out"):
        activations(torch.nn.Identity(), images(folder, PREPARATIONS["vit"]), [""], tokens="mean")


def test_pictures_of_different_sizes_are_named(folder):
    found = images(folder, PREPARATIONS["clip"]._replace(crop=None))
    with pytest.raises(DataError, match=r"a/b/tiny\.png becomes 289 x 224 .*; expected 224 x 591, as .*a/tall\.png"):
        found[np.array([1, 0])]


def test_folders_that_hold_no_pictures(tmp_path):
    with pytest.raises(DataError, match="none is not a folder; expected one of pictures"):
        images(tmp_path / "none", PREPARATIONS["vit"])
    with pytest.raises(DataError, match=r"holds no pictures; expected files that end in \.jpeg, \.jpg"):
        images(tmp_path, PREPARATIONS["vit"])


@pytest.mark.parametrize(
    "said",
    [
        "", "[]", "{", "{}", '{"image_mean": [1], "image_std": [1]}',
        '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "size": {"longest_edge": 3}}',
        '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "size": 8, "resample": "sharp"}',
        '{"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "do_center_crop": true, "crop_size": {}}',
    ],
)  # fmt: skip
def test_preparations_that_cannot_be_followed(tmp_path, said):
    file = tmp_path / "preprocessor_config.json"
    file.write_text(said)
    with pytest.raises(DataError, match=r"preprocessor_config\.json cannot be followed \(.*give a Preparation"):
        preparation(file)


def test_preparations_of_old(tmp_path):
    file = tmp_path / "preprocessor_config.json"
    said = {
        "image_mean": IMAGENET[0],
        "image_std": IMAGENET[1],
        "size": 224,
        "feature_extractor_type": "ViTFeatureExtractor",
    }
    file.write_text(json.dumps(said))
    assert preparation(file) == PREPARATIONS["dino"]
    file.write_text(
        json.dumps({**said, "do_center_crop": True, "crop_size": 192, "feature_extractor_type": "CLIPFeatureExtractor"})
    )
    assert preparation(file).resize == 224
    assert preparation(file).crop == (192, 192)
    with pytest.raises(
        DataError, match=r"other\.json does not exist; expected the preprocessor_config\.json of the model"
    ):
        preparation(tmp_path / "other.json")


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r'need the pillow package; pip install "superpose\[models\]"'):
        images(tmp_path, PREPARATIONS["vit"])

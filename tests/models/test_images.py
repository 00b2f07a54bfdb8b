"""Pictures as inputs of vision models, against the image processors of transformers."""

import json
import struct
import sys
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from superpose.files import DataError
from superpose.models import PREPARATIONS, Preparation, activations, images, preparation
from superpose.models.pictures import prepare

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


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "PA", "YCbCr"])
def test_other_kinds_of_pictures(tmp_path, mode):
    """Grey becomes three equal channels, and what is transparent lies on white."""
    rng = np.random.default_rng(1)
    made = Image.fromarray(rng.integers(0, 256, size=(40, 40, 4), dtype=np.uint8), "RGBA")
    path = tmp_path / f"a.{'tif' if mode in ('CMYK', 'PA', 'YCbCr') else 'png'}"
    (made.convert("RGB") if mode == "YCbCr" else made.convert("LA") if mode == "PA" else made).convert(mode).save(path)
    ours = images(tmp_path, PREPARATIONS["clip"])[np.array([0])]
    reference = transformers.CLIPImageProcessor()(Image.open(path), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ours, reference, atol=1e-5)


AS_THEY_ARE = Preparation(None, None, 2, (0, 0, 0), (1, 1, 1), scale=1.0)
GREYS = np.random.default_rng(2).integers(0, 2**16, size=(6, 10)).astype(np.uint16)


def turned(path, pixels, orientation, **options):
    """Save what a camera held otherwise would, the way round that its EXIF says."""
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


TURNS = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_as_their_exif_says(tmp_path, orientation):
    """The oracles are NumPy's turns and, where Pillow does not scramble what it maps, the reference's loader."""
    colours = np.random.default_rng(3).integers(0, 256, size=(6, 10, 3), dtype=np.uint8)
    grey = colours[..., 0]
    files = {
        "a.png": (colours, {}),
        "a.webp": (colours, {"lossless": True}),
        "colour.tif": (colours, {}),
        "packed.tif": (grey, {"compression": "tiff_lzw"}),
        "grey.tif": (grey, {}),
        "deep.tif": (GREYS, {}),
        "deep.png": (GREYS, {}),
    }
    for name, (pixels, options) in files.items():
        ours = prepare(turned(tmp_path / name, pixels, orientation, **options), AS_THEY_ARE)
        eight = pixels >> 8 if pixels.dtype == np.uint16 else pixels
        expected = TURNS[orientation](eight)
        expected = expected if expected.ndim == 3 else np.stack([expected] * 3, -1)
        np.testing.assert_array_equal(ours, np.moveaxis(expected, -1, 0), err_msg=name)
    photo = turned(tmp_path / "a.jpg", colours, orientation, quality=95)
    reference = np.asarray(transformers.image_utils.load_image(str(photo)))
    np.testing.assert_array_equal(prepare(photo, AS_THEY_ARE), np.moveaxis(reference, -1, 0))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm", "big.tif", "white.tif"])
def test_greys_of_16_bits_keep_their_first_8(tmp_path, name):
    """As Pillow reads colours of 16 bits; the reference clips greys, and sees white."""
    path, stored = tmp_path / name, GREYS
    if name == "white.tif":
        # Photometric 0: white is zero.
        stored = 2**16 - 1 - GREYS
        Image.fromarray(stored).save(path, tiffinfo={262: 0})
        data = path.read_bytes()
        assert Image.open(path).tag_v2[262] in (0, 1)
        if Image.open(path).tag_v2[262] == 1:
            path.write_bytes(
                data.replace(struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 262, 3, 1, 0, 0))
            )
        assert Image.open(path).tag_v2[262] == 0
    else:
        Image.fromarray(stored.astype(">u2" if name == "big.tif" else "u2")).save(path)
    np.testing.assert_array_equal(prepare(path, AS_THEY_ARE), np.stack([GREYS >> 8] * 3))


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (GREYS.astype(np.int32), "holds greys of type int32, of which the white is not known; save it with 8 or 16"),
        (GREYS.astype(np.float32), "holds greys of type float32, of which the white is not known"),
    ],
)
def test_greys_without_a_known_white_are_refused(tmp_path, pixels, words):
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=words):
        prepare(tmp_path / "a.tif", AS_THEY_ARE)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deep_png(path, pixels, transparent):
    """Write 16 bits a channel, of which Pillow writes greys alone, and the colour that is transparent."""
    height, width = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("key", [0, 128, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_16_bits_is_refused(tmp_path, key, channels):
    """Of its first 8 bits, Pillow would make other colours transparent, or none."""
    deep_png(tmp_path / "a.png", GREYS if channels == 1 else np.stack([GREYS] * 3, axis=-1), [key] * channels)
    with pytest.raises(DataError, match="has a transparent colour of 16 bits; save it with an alpha channel"):
        prepare(tmp_path / "a.png", AS_THEY_ARE)


def test_only_the_first_frame_is_used_and_that_is_said(tmp_path):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    with pytest.warns(UserWarning, match=r"a\.gif holds 2 frames; only the first is used"):
        found = prepare(tmp_path / "a.gif", AS_THEY_ARE)
    np.testing.assert_array_equal(found[:, 0, 0], [255, 0, 0])
    # A phone's second frame is a preview.
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    with warnings.catch_warnings(action="error"):
        prepare(tmp_path / "a.jpg", AS_THEY_ARE)


def test_pictures_that_are_left_out_are_named(folder):
    (folder / "a" / "photo.heic").write_bytes(b"")
    (folder / "sketch.svg").write_text("<svg/>")
    with pytest.warns(UserWarning, match=r"also holds 2 picture\(s\) of kinds that are not read, such as photo\.heic"):
        assert len(images(folder, PREPARATIONS["clip"])) == len(SIZES)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_lies_on_white(tmp_path, mode):
    pixels = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6)).convert(mode)
    pixels.save(tmp_path / "a.png", transparency=(7, 7, 7) if mode == "RGB" else 7)
    expected = np.stack([np.where(np.arange(36).reshape(6, 6) == 7, 255, np.arange(36).reshape(6, 6))] * 3)
    np.testing.assert_array_equal(prepare(tmp_path / "a.png", AS_THEY_ARE), expected)


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

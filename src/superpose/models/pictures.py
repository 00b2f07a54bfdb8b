"""Pictures of a folder as inputs of a vision model, read batch by batch and prepared as the model was trained on.

The arithmetic is that of the image processors of transformers on Pillow: resize 8-bit values, crop the centre,
rescale to [0, 1], subtract the mean and divide by the standard deviation of each channel. Pictures are turned as their
EXIF says, what is transparent lies on white, greys of 16 bits keep their first 8, and greys without a known white
(32-bit integers, floats) are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, sha256
from superpose.models.parts import INSTALL, first_line

SUFFIXES = (
    *(".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"),
)
# Processors that read a plain number as the shorter edge; the others make a square.
SHORTER_EDGE = ("CLIP", "Bit")
SETTINGS = "preprocessor_config.json"
# Formats whose greys of 16 bits Pillow gives as 32, the white being 65535.
DEEP = ("PNG", "PPM")
# TIFF's tags.
BITS, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0


class Preparation(NamedTuple):
    """How a picture becomes an input, (3, height, width).

    Attributes
    ----------
    resize : int, tuple of int or None
        The shorter edge (the other keeps the proportion), or (height, width).
    crop : tuple of int or None
        (height, width) of the centre that is kept; a smaller picture gets black edges.
    resample : int
        Pillow's number of the interpolation: 2 bilinear, 3 bicubic.
    mean, std : tuple of float
        Of each channel, on the scale of [0, 1].
    scale : float
        What 8-bit values are multiplied with.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255


_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# As the published models of these names keep them in their preprocessor_config.json.
PREPARATIONS: Mapping[str, Preparation] = {
    "clip": Preparation(224, (224, 224), 3, *_CLIP),
    "vit": Preparation((224, 224), None, 2, _HALF, _HALF),
    "dino": Preparation((224, 224), None, 2, *_IMAGENET),
    "dinov2": Preparation(256, (224, 224), 3, *_IMAGENET),
}


@dataclass(frozen=True)
class Images:
    """Pictures that are read when their rows are asked for: a Source of `activations`.

    Attributes
    ----------
    folder : pathlib.Path
        Where the pictures lie.
    names : tuple of str
        Their paths in it, with "/", sorted: the stimulus ids of the rows.
    preparation : Preparation
        How each becomes an input.
    """

    folder: Path
    names: tuple[str, ...]
    preparation: Preparation

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the pictures of these numbers, (rows, 3, height, width)."""
        files = [self.folder / self.names[row] for row in rows]
        made = [prepare(file, self.preparation) for file in files]
        for file, one in zip(files, made, strict=True):
            if one.shape != made[0].shape:
                raise DataError(
                    f"{file} becomes {one.shape[2]} x {one.shape[1]} pixels; expected {made[0].shape[2]} x "
                    f"{made[0].shape[1]}, as {files[0]}. Give a preparation that crops."
                )
        return np.stack(made)

    def digest(self) -> str:
        """Return the SHA-256 digest of all names, files and the preparation; every file is read once."""
        total = hashlib.sha256(repr(self.preparation).encode())
        for name in self.names:
            total.update(f"{name} {sha256(self.folder / name)}\n".encode())
        return total.hexdigest()


def images(folder: str | os.PathLike[str], preparation: Preparation) -> Images:
    """Return the pictures of a folder and of the folders in it (as ImageNet's, one a class), sorted by name.

    Parameters
    ----------
    folder : path-like
        Holds files whose names end in .jpg, .png or the like; other files and hidden ones are passed over.
    preparation : Preparation
        How each becomes an input: one of `PREPARATIONS`, or what `preparation` reads beside a saved model.

    Returns
    -------
    Images

    Raises
    ------
    DataError
        If Pillow is missing, or the folder is not there or holds no picture; when rows are asked for, if a file is
        not a picture or the preparation gives pictures of different sizes.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from superpose.models import PREPARATIONS, images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (300, 200), "red").save(f"{folder}/red.png")
    ...     found = images(folder, PREPARATIONS["clip"])
    ...     found.names, found[np.array([0])].shape
    (('red.png',), (1, 3, 224, 224))
    """
    _pillow()
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; expected one of pictures, or of folders of pictures.")
    found = [
        file.relative_to(root).as_posix()
        for file in root.rglob("*")
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not found:
        raise DataError(f"{root} holds no pictures; expected files that end in {', '.join(SUFFIXES)}.")
    others = sorted(
        file.name
        for file in root.rglob("*")
        if (guess_type(file.name)[0] or "").startswith("image/")
        and file.suffix.lower() not in SUFFIXES
        and not file.name.startswith(".")
    )
    if others:
        warnings.warn(
            f"{root} also holds {len(others)} picture(s) of kinds that are not read, such as {others[0]}; left out.",
            stacklevel=2,
        )
    return Images(root, tuple(sorted(found)), preparation)


def preparation(path: str | os.PathLike[str]) -> Preparation:
    """Return the preparation that transformers saved beside a model: preprocessor_config.json or processor_config.json.

    Raises
    ------
    DataError
        If the file is missing, is not such a one, or asks for what is not followed here.
    """
    file = Path(path)
    try:
        said = json.loads(file.read_bytes())
        # Processors of pictures and sentences keep the one of pictures inside of theirs.
        said = said.get("image_processor", said)
        size = said.get("size") if said.get("do_resize", True) else None
        crop = said.get("crop_size") if said.get("do_center_crop", False) else None
        normal = said.get("do_normalize", True)
        found = Preparation(
            resize=None if size is None else _edges(size, said),
            crop=None if crop is None else _pair(crop),
            resample=int(said.get("resample", 2)),
            mean=_channels(said["image_mean"]) if normal else (0.0, 0.0, 0.0),
            std=_channels(said["image_std"]) if normal else (1.0, 1.0, 1.0),
            scale=float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0,
        )
    except FileNotFoundError:
        raise DataError(f"{file} does not exist; expected the {SETTINGS} of the model.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise DataError(f"{file} cannot be followed ({first_line(error)}); give a Preparation instead.") from None
    return found


def _edges(size: Any, said: Mapping[str, Any]) -> int | tuple[int, int]:
    """Return the shorter edge or (height, width); a number, in files of old, is the one or the other by their type."""
    if isinstance(size, int):
        kind = str(said.get("image_processor_type", said.get("feature_extractor_type")))
        return size if kind.startswith(SHORTER_EDGE) else (size, size)
    return int(size["shortest_edge"]) if set(size) == {"shortest_edge"} else _pair(size)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))


def _channels(values: Sequence[float]) -> tuple[float, ...]:
    red, green, blue = map(float, values)
    return red, green, blue


def prepare(path: str | os.PathLike[str], preparation: Preparation) -> NDArray[np.float32]:
    """Return one picture as (3, height, width), float32.

    Raises
    ------
    DataError
        If the file cannot be read as a picture.
    """
    pixels = upright(path)
    if preparation.resize is not None:
        pixels = pixels.resize(_resized(pixels.size, preparation.resize), preparation.resample)
    values = np.asarray(pixels)
    if preparation.crop is not None:
        values = _centre(values, preparation.crop)
    mean, std = (np.array(value, dtype=np.float32) for value in (preparation.mean, preparation.std))
    scaled = (values * np.float64(preparation.scale)).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis((scaled - mean) / std, -1, 0))


def upright(path: str | os.PathLike[str]) -> Any:
    """Return a picture of Pillow's in 8-bit red, green and blue, turned as a camera held it.

    Raises
    ------
    DataError
        If the file cannot be read as a picture, or Pillow is missing.
    """
    image = _pillow()
    try:
        # Of a path, Pillow maps the pixels of a plain TIFF into memory, and scrambles those that have to be turned.
        with open(path, "rb") as source, image.open(source) as opened:
            return _rgb(path, opened)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path} cannot be read as a picture ({first_line(error)}); mend it or take it out.") from None


def _rgb(path: str | os.PathLike[str], image: Any) -> Any:
    """Return 8-bit red, green and blue, turned as a camera held it; what is transparent lies on white."""
    from PIL import ImageOps

    # Phones keep a preview or a depth map as second frame (MPO).
    if image.format != "MPO" and getattr(image, "is_animated", False):
        warnings.warn(f"{path} holds {image.n_frames} frames; only the first is used.", stacklevel=6)
    key = image.info.get("transparency")
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in DEEP)
    if image.mode in ("I", "F") and not deep:
        kind = "int32" if image.mode == "I" else "float32"
        raise DataError(
            f"{path} holds greys of type {kind}, of which the white is not known; save it with 8 or 16 bits."
        )
    if key is not None and any(";16" in str(tile[3]) for tile in image.tile):
        raise DataError(f"{path} has a transparent colour of 16 bits; save it with an alpha channel, or 8 bits.")
    tags = dict(getattr(image, "tag_v2", {}))
    upright = ImageOps.exif_transpose(image)
    if deep:
        upright = _shallow(upright, tags)
    if not upright.mode.endswith(("A", "a")) and key is None:
        return upright.convert("RGB")
    over = upright.convert("LA" if upright.mode == "La" else "RGBA").convert("RGBA")
    return _pillow().alpha_composite(_pillow().new("RGBA", over.size, "white"), over).convert("RGB")


def _shallow(image: Any, tags: Mapping[int, Any]) -> Any:
    """Return the first 8 bits of greys of up to 16, as Pillow itself does with colours of 16: it would clip greys."""
    (bits,) = tags.get(BITS, (16,))
    values = np.asarray(image).astype(np.int64)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = 2**bits - 1 - values
    return _pillow().fromarray((values >> (bits - 8)).astype(np.uint8))


def _resized(size: tuple[int, int], resize: int | tuple[int, int]) -> tuple[int, int]:
    """Return (width, height)."""
    if not isinstance(resize, int):
        return resize[1], resize[0]
    short, long = sorted(size)
    width, height = size
    other = int(resize * long / short)
    return (resize, other) if width <= height else (other, resize)


def _centre(values: NDArray[Any], crop: tuple[int, int]) -> NDArray[Any]:
    """Cut out the centre; what lies outside of the picture is black."""
    for axis, wanted in enumerate(crop):
        have = values.shape[axis]
        if have < wanted:
            before = -(-(wanted - have) // 2)
            edges = [(before, wanted - have - before) if a == axis else (0, 0) for a in range(3)]
            values = np.pad(values, edges)
        else:
            values = values.take(range((have - wanted) // 2, (have - wanted) // 2 + wanted), axis)
    return values


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"pictures need the pillow package; {INSTALL}.") from None
    return Image

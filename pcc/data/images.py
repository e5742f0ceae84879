"""One way to read an image: whatever the file holds, three 8-bit channels the right way up."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from pcc.runtime.errors import InputError
from pcc.runtime.image_files import FORMATS, opened

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
# Other formats of images and films: a file of one is reported, not passed over in silence.
FOREIGN_SUFFIXES = """
    heic heif hif avifs jxl jp2 j2k jpx jpf jpc jxr wdp jfif jpe jif apng mpo svg svgz eps ps pdf ai psd psb xcf kra
    raw cr2 cr3 crw nef nrw arw srf sr2 dng orf rw2 raf pef srw x3f 3fr iiq tga ico cur icns pcx exr hdr pfm pnm dds
    dcm dicom nii mhd fits fit npy npz mat webm mp4 mov avi mkv m4v mpg mpeg
"""
FOREIGN = frozenset(f".{name}" for name in FOREIGN_SUFFIXES.split()) - set(SUFFIXES)
ADVICE = "restore it or take the image out of the list"
Picture = str | Path | Image.Image | np.ndarray
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image as RGB, [H, W, 3].

    The EXIF orientation is applied. Grey is repeated over the channels; CMYK, palette and other colour spaces
    are converted; transparency is laid over white, as viewers show it; 16-bit grey is divided by 257 (65535
    becomes 255). Of an animation the first frame is taken.

    Raises:
        InputError: missing, empty or damaged file, another format, or pixels whose range is not known (32 bits).
    """
    with opened(path, "image", ADVICE) as image:
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_to_rgb(image, path))


def as_rgb(image: Picture) -> UInt8[np.ndarray, "H W 3"]:
    """An image given as a path, a PIL image or an array, as RGB [H, W, 3].

    Paths and PIL images are converted as by `read_image`; an array is taken as it is.

    Raises:
        InputError: see `read_image`; or an array that is not uint8 [H, W, 3].
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(_to_rgb(ImageOps.exif_transpose(image), Path("PIL image")))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image is an array {image.dtype} {image.shape}; it must be uint8 [H, W, 3], RGB")
    return image


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as `read_image` would give them, from the file's header alone.

    Raises:
        InputError: missing or empty file, or no image header.
    """
    with opened(path, "image", ADVICE) as image:
        # Pillow gives a TIFF's size as it is after turning.
        turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
        return (image.width, image.height) if turned else (image.height, image.width)


def find_image(folder: Path, name: str) -> Path | None:
    """The image file of this name in a folder, whichever suffix it has."""
    suffixes = (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))
    return next((path for suffix in suffixes if (path := folder / f"{name}{suffix}").is_file()), None)


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F":
        raise InputError(f"{path}: pixels are floating-point numbers of unknown range; save as 8-bit RGB")
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise InputError(f"{path}: pixels are 32-bit numbers of unknown range; save as 8-bit RGB")
        return Image.fromarray((grey // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")

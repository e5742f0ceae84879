"""The one place where an image file is opened: only as a listed format, and any decoder's error becomes one line."""

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from pcc.runtime.errors import InputError

# By Pillow's name. Among those left out is EPS, for which Pillow starts an interpreter of PostScript, a language.
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
}
MAX_PIXELS = 178_956_970  # Pillow's own limit: half a gigabyte as RGB
warnings.filterwarnings("ignore", module=r"PIL\.")  # odd metadata of a file that can be read


@contextmanager
def opened(
    path: Path, kind: str, advice: str, formats: Collection[str] = tuple(FORMATS)
) -> Iterator[ImageFile.ImageFile]:
    """Open an image; the block decodes it.

    Args:
        path: the file.
        kind: what it is, for the message: image or mask.
        advice: what to do where it cannot be read.
        formats: the file's content must be one of these, whatever its suffix says.

    Raises:
        InputError: missing, empty or damaged file, another format, or too many pixels.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: file is missing; {advice}")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: file is empty (0 bytes); {advice}")
        Image.init()
        with Image.open(path, formats=[name for name in formats if name in Image.OPEN]) as image:
            if 0 in image.size or image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path}: {kind} has {image.width} x {image.height} pixels; {advice}")
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: {kind} cannot be read (damaged, or no file of format {', '.join(formats)}); {advice}"
        ) from error
    except Exception as error:  # each decoder has errors of its own: RuntimeError, struct.error, MemoryError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: {kind} cannot be read ({reason}); {advice}") from error

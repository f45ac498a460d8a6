"""Makes small pictures, one a line of input, in a process of its own: `python -m ... FOLDER`.

Memory is bounded: an image of more than 100 million pixels is not decoded, JPEG is decoded at the size that is needed,
and the process may not have more than 2 GiB.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from nanobatch.reporters.gallery.thumbnails import MOST_PIXELS
from nanobatch.stores.local import PARTS

EDGE = 480  # pixels of the longer side: a tile is up to 240 wide, on screens of two pixels a point
QUALITY = 78
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
MOST_MEMORY = 2 << 30


def make(source: Path, target: Path, part: Path) -> None:
    """Write the small picture of an image: to `part`, then into its place.

    Raises:
        OSError: The image cannot be read or is broken, or the picture cannot be written.
        ValueError: It is no image, or too large.
    """
    with Image.open(source, formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        image.draft("RGB", (EDGE, EDGE))
        image.thumbnail((EDGE, EDGE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        small = ImageOps.exif_transpose(image)
        if small.mode not in ("RGB", "RGBA"):
            small = small.convert("RGBA" if small.has_transparency_data else "RGB")
        for folder in (part.parent, target.parent):
            folder.mkdir(parents=True, exist_ok=True)
        small.save(part, "WEBP", quality=QUALITY, method=2)
        part.replace(target)


def serve(root: Path) -> None:
    """Answer each line of standard input with `made` or `no`, until it ends."""
    part = root / PARTS / f"small-{os.getpid()}.part"
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            make(root / asked["source"], root / asked["target"], part)
        except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):  # what Pillow raises
            answer = b"no\n"
        else:
            answer = b"made\n"
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


def main() -> None:
    """Bound the memory, and serve."""
    (root,) = sys.argv[1:]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(Path(root))


if __name__ == "__main__":
    main()

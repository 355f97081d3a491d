"""Pictures of a session as an animated GIF."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = 64  # the pictures are flat; more only makes the file larger


def gif_frame(frame: NDArray[np.uint8]) -> Image.Image:
    """Return a picture (height, width, 3) with a palette: a third of the memory."""
    return Image.fromarray(frame).quantize(COLOURS, dither=Image.Dither.NONE)


def write_gif(path: Path, frames: Sequence[Image.Image], milliseconds: Sequence[int]) -> None:
    """Write frames that are shown for so many milliseconds, again and again; the file appears whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=list(milliseconds), loop=0)
        os.chmod(temporary, 0o644)  # mkstemp's own is for its owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

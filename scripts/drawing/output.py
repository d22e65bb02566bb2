"""Figures and animations to files, written aside and renamed so that none is ever half written."""

import base64
import html
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import binary_dilation

from marinenav_env.files import replacing
from scripts.command_line import InputError

Frames = Iterable[np.ndarray]
"""RGB images (height, width, 3) uint8, all of one size."""


MOST_PIXELS = 2**16
"""Matplotlib's limit for a side of an image."""

SEAM = 3
"""Pixels around what changed that belong to an overlay of the page, too."""


def save_figure(figure: Figure, path: Path, dpi: float = 100) -> None:
    """Write a still figure; the suffix of ``path`` chooses the format.

    Raises:
        InputError: It has more pixels than an image can have.
    """
    pixels = dpi * max(figure.get_size_inches())
    if path.suffix.lower() == ".png" and pixels >= MOST_PIXELS:
        raise InputError(f"{path}: {pixels:.0f} pixels on a side; below {MOST_PIXELS} are possible")
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=dpi, bbox_inches="tight", pad_inches=0.15)


def write_png(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Write the only frame."""
    (frame,) = frames
    Image.fromarray(frame).save(file, "PNG", optimize=True)


def packed(image: np.ndarray) -> np.ndarray:
    """RGB pixels (..., 3) as one number each, (...,)."""
    return image.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)


def unpacked(colours: np.ndarray) -> np.ndarray:
    """Inverse of `packed`, as signed integers."""
    return np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.int32)


def palette_of(image: np.ndarray) -> np.ndarray:
    """256 colours (256, 3) for an image: the commonest as they are, the others spread over all that occur.

    Median cut, the usual method, would turn the few pixels of a vessel into the colour of another.
    """
    colours, counts = np.unique(packed(image), return_counts=True)
    common = unpacked(colours[np.argsort(-counts)[:128]])
    few = Image.fromarray(image).quantize(
        256 - len(common), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    palette = np.zeros((256, 3), dtype=np.int32)
    spread = np.reshape(few.getpalette(), (-1, 3))[: 256 - len(common)]
    entries = np.concatenate([common, spread])
    palette[: len(entries)] = entries
    return palette


def indexed(image: np.ndarray, palette: np.ndarray) -> Image.Image:
    """Image in the nearest colours of ``palette``; Pillow's own look-up is coarse near white."""
    colours, inverse = np.unique(packed(image), return_inverse=True)
    distance = ((unpacked(colours)[:, None] - palette) ** 2).sum(axis=-1)
    result = Image.fromarray(distance.argmin(axis=1).astype(np.uint8)[inverse].reshape(image.shape[:2]), "P")
    result.putpalette(palette.ravel().tolist())
    return result


def write_gif(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Write an endless GIF; all frames share the colours of the first, so that nothing flickers.

    The legends of the first frame show every colour that may come.
    """
    frames = iter(frames)
    first = next(frames)
    palette = palette_of(first)
    images = (indexed(frame, palette) for frame in chain([first], frames))
    next(images).save(file, "GIF", save_all=True, append_images=images, duration=round(1000 / fps), loop=0)


def write_mp4(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Feed the raw frames to ffmpeg."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    command = [shutil.which("ffmpeg"), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    # H.264 in its common flavour wants even sizes.
    command += ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p", "-f", "mp4", file.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        for frame in chain([first], frames):
            ffmpeg.stdin.write(frame.tobytes())
    if ffmpeg.returncode:
        raise OSError(f"ffmpeg ended with status {ffmpeg.returncode}")


def data_uri(image: Image.Image, **how: object) -> str:
    """Image as text that a page can hold."""
    memory = io.BytesIO()
    image.save(memory, "WEBP", **how)
    return "data:image/webp;base64," + base64.b64encode(memory.getvalue()).decode()


def write_html(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Write one page that holds all frames and plays them without any other file.

    The first frame is stored whole, every other as what differs from it: half the size.
    """
    frames = iter(frames)
    base = next(frames)
    overlays = []
    for frame in chain([base], frames):
        # A seam runs where both frames are the same: a page in another size mixes the pixels along it.
        covered = binary_dilation((frame != base).any(axis=-1), iterations=SEAM)
        overlay = np.concatenate([frame, covered[..., None] * np.uint8(255)], axis=-1)
        overlays.append(data_uri(Image.fromarray(overlay), quality=65, method=2))
    page = resources.files("scripts.drawing").joinpath("player.html").read_text(encoding="utf-8")
    page = page.replace("/*TITLE*/", html.escape(title)).replace("/*FPS*/10", f"{fps:g}")
    page = page.replace("/*BASE*/", data_uri(Image.fromarray(base), lossless=True))
    file.write(page.replace("/*FRAMES*/[]", json.dumps(overlays)).encode())


WRITERS: dict[str, Callable[[Frames, IO[bytes], float, str], None]] = {
    ".png": write_png,
    ".gif": write_gif,
    ".mp4": write_mp4,
    ".html": write_html,
}


def check_writer(path: Path) -> None:
    """Raise InputError when the tool for this kind of output is not installed."""
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise InputError(f"{path}: MP4 needs the program ffmpeg, which is not on the PATH; use .gif or .html")


def save_frames(frames: Frames, path: Path, fps: float, title: str) -> None:
    """Write frames as the suffix of ``path`` says (one of ``WRITERS``)."""
    with replacing(path) as file:
        WRITERS[path.suffix.lower()](frames, file, fps, title)

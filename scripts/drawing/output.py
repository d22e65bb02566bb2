"""Figures and animations to files, written aside and renamed so that none is ever half written."""

import base64
import html
import io
import json
from collections.abc import Callable, Iterable
from importlib import resources
from itertools import chain
from pathlib import Path
from subprocess import CalledProcessError
from typing import IO

import numpy as np
from matplotlib.animation import FFMpegWriter
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
    """Write a still figure; the suffix of ``path`` chooses the format."""
    pixels = dpi * max(figure.get_size_inches())
    if path.suffix.lower() == ".png" and pixels >= MOST_PIXELS:
        raise InputError(f"{path}: {pixels:.0f} pixels on a side; below {MOST_PIXELS} are possible")
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=dpi, bbox_inches="tight", pad_inches=0.15)


def write_png(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Write the only frame."""
    (frame,) = frames
    Image.fromarray(frame).save(file, "PNG", optimize=True)


def write_gif(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Write an endless GIF."""
    images = map(Image.fromarray, frames)
    next(images).save(file, "GIF", save_all=True, append_images=images, duration=round(1000 / fps), loop=0)


def write_mp4(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Feed the frames to ffmpeg, by matplotlib's writer."""
    frames = iter(frames)
    first = next(frames)
    figure = Figure(figsize=np.array(first.shape[1::-1]) / 100, dpi=100)
    image = figure.figimage(first)
    writer = FFMpegWriter(fps, "h264", extra_args=["-f", "mp4"])
    try:
        with writer.saving(figure, file.name, 100):
            for frame in chain([first], frames):
                image.set_data(frame)
                writer.grab_frame()
    except CalledProcessError as error:
        raise OSError(f"ffmpeg ended with status {error.returncode}") from error


def data_uri(image: Image.Image, **how: object) -> str:
    """Image as text that a page can hold."""
    memory = io.BytesIO()
    image.save(memory, "WEBP", **how)
    return "data:image/webp;base64," + base64.b64encode(memory.getvalue()).decode()


def player(frames: Frames, fps: float, title: str) -> str:
    """A page that plays frames without any other file: the first whole, then what differs (half the size)."""
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
    return page.replace("/*FRAMES*/[]", json.dumps(overlays))


def write_html(frames: Frames, file: IO[bytes], fps: float, title: str) -> None:
    """Write the page that plays the frames."""
    file.write(player(frames, fps, title).encode())


WRITERS: dict[str, Callable[[Frames, IO[bytes], float, str], None]] = {
    ".png": write_png,
    ".gif": write_gif,
    ".mp4": write_mp4,
    ".html": write_html,
}


def check_writer(path: Path) -> None:
    """Raise InputError when the tool for this kind of output is not installed."""
    if path.suffix.lower() == ".mp4" and not FFMpegWriter.isAvailable():
        raise InputError(f"{path}: MP4 needs the program ffmpeg, which is not on the PATH; use .gif or .html")


def save_frames(frames: Frames, path: Path, fps: float, title: str) -> None:
    """Write frames as the suffix of ``path`` says (one of ``WRITERS``)."""
    with replacing(path) as file:
        WRITERS[path.suffix.lower()](frames, file, fps, title)

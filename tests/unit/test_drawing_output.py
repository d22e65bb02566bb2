"""Files of figures and frames: whole or not at all, playable, self-contained."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from scripts.command_line import InputError, output_path, pick
from scripts.drawing.output import check_writer, save_figure, save_frames


def frames(count: int = 4) -> Iterator[np.ndarray]:
    """A bright square that moves to the right."""
    for k in range(count):
        image = np.full((40, 61, 3), 200, dtype=np.uint8)
        image[10:20, 10 * k : 10 * k + 10] = (0, 114, 178)
        yield image


def broken_frames() -> Iterator[np.ndarray]:
    yield from frames(2)
    raise RuntimeError("drawing failed")


def test_png_holds_the_frame(tmp_path: Path) -> None:
    save_frames(frames(1), tmp_path / "a.png", 10, "title")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), next(frames()))


def test_a_figure_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: 120000 pixels on a side; below 65536 are possible"):
        save_figure(Figure(figsize=(200, 2)), tmp_path / "a.png", dpi=600)
    assert list(tmp_path.iterdir()) == []


def test_gif_plays_every_frame_at_the_asked_speed_for_ever(tmp_path: Path) -> None:
    save_frames(frames(), tmp_path / "a.gif", 10, "title")
    with Image.open(tmp_path / "a.gif") as gif:
        shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
        assert (gif.info["duration"], gif.info["loop"]) == (100, 0)
    assert len(shown) == 4
    assert shown[3][15, 35].tolist() == next(frames())[15, 5].tolist()


def test_page_holds_all_frames_and_refers_to_nothing_else(tmp_path: Path) -> None:
    save_frames(frames(), tmp_path / "a.html", 12.5, "a <b> & c")
    page = (tmp_path / "a.html").read_text()
    assert page.count("data:image/webp;base64,") == 5
    assert "fps = 12.5" in page
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert not re.search(r"(https?:|//cdn|src=\"(?!data:))", page)
    assert "/*" not in re.sub(r"base64,[^\"]*", "", page).split("<script>")[1]


@pytest.mark.parametrize("suffix", [".gif", ".html"])
def test_failure_leaves_the_old_file_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="drawing failed"):
        save_frames(broken_frames(), path, 10, "title")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that writes its arguments and what it is fed to the file it is asked for."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor last; do :; done\n{ echo "$@"; cat; } > "$last"\nexit ${FFMPEG_STATUS:-0}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.mark.usefixtures("ffmpeg")
def test_mp4_is_made_by_ffmpeg_from_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    check_writer(path)
    save_frames(frames(), path, 10, "title")
    head, _, raw = path.read_bytes().partition(b"\n")
    assert b"-s 60x40 " in head  # H.264 wants even sizes
    assert b" 10 " in head
    shown = np.frombuffer(raw, dtype=np.uint8).reshape(4, 40, 60, 4)
    for image, expected in zip(shown, frames(), strict=True):
        np.testing.assert_array_equal(image[..., :3], expected[:, :60])
    monkeypatch.setenv("FFMPEG_STATUS", "3")
    with pytest.raises(OSError, match="ffmpeg ended with status 3"):
        save_frames(frames(), path, 10, "title")
    assert path.read_bytes().endswith(raw)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffmpeg")
def test_the_real_ffmpeg_makes_a_film_that_common_players_show(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    save_frames(frames(), path, 10, "title")
    shown = "stream=codec_name,pix_fmt,width,height,nb_frames,r_frame_rate"
    probe = ["ffprobe", "-v", "error", "-show_entries", shown, "-of", "json", str(path)]
    (stream,) = json.loads(subprocess.check_output(probe))["streams"]
    assert stream == {
        "codec_name": "h264",
        "pix_fmt": "yuv420p",
        "width": 60,
        "height": 40,
        "nb_frames": "4",
        "r_frame_rate": "10/1",
    }


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_plays_the_page_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    save_frames(frames(), path, 10, "title")
    path.write_text(path.read_text().replace("show(0);\n</script>", "start();\n</script>"))
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    page = subprocess.check_output([*browser, "--dump-dom", path.as_uri()], stderr=subprocess.DEVNULL)
    assert b'<output id="label">4 / 4</output>' in page
    assert b">Play</button>" in page


def test_mp4_without_ffmpeg_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"a\.mp4: MP4 needs the program ffmpeg"):
        check_writer(Path("a.mp4"))


def test_output_names_are_checked_before_any_work(tmp_path: Path) -> None:
    assert output_path(tmp_path / "a.PNG", (".png",)) == tmp_path / "a.PNG"
    for name, reason in (("a.jpg", "must end in .png"), ("no/a.png", "does not exist"), ("", "must end in")):
        with pytest.raises(InputError, match=reason):
            output_path(tmp_path / name, (".png",))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        output_path(tmp_path / "folder.png", (".png",))


def test_indices_count_from_both_ends() -> None:
    assert (pick(-1, 5, "--episode"), pick(4, 5, "--episode")) == (4, 4)
    for index in (5, -6):
        with pytest.raises(InputError, match=f"--episode {index} does not exist; allowed are -5 to 4"):
            pick(index, 5, "--episode")

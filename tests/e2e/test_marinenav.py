"""The command ``marinenav``: its words, their help, and the page that reports runs."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts import marinenav
from tests.unit.recordings import golden_episode
from torchrl_gpu import __version__
from torchrl_gpu.evaluation.metrics import EpisodeResult
from torchrl_gpu.evaluation.record import EvaluationRecord
from torchrl_gpu.runs import surroundings


@pytest.fixture(scope="module")
def runs(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one run: two evaluations of two episodes each, one of them recorded."""
    folder = tmp_path_factory.mktemp("runs")
    episode = golden_episode(golden)
    robots = episode["robots"]
    histories = (robots[key] for key in ("observation_history", "action_history", "trajectory"))
    good = EpisodeResult(12.0, True, 33.5, 20000.0, *histories)
    bad = EpisodeResult(1.0, False, 33.5, 20000.0, [], [], [])
    for seed in (0, 1):
        record = EvaluationRecord()
        record.append(2000, [bad, bad])
        record.append(60000, [good, bad])
        trial = folder / f"seed_{seed}"
        trial.mkdir()
        record.save(trial)
        (trial / "eval_configs.json").write_text(json.dumps([episode, episode]))
        config = {"seed": seed, "agent_type": "AC-IQN", "save_dir": "<b>runs</b>", "cvar": 0.5}
        config |= {"total_timesteps": 60000, "eval_freq": 60000}
        (trial / "trial_config.json").write_text(json.dumps(config))
        surroundings.note(trial, "cpu")
    return folder


@pytest.mark.parametrize("word", marinenav.COMMANDS)
def test_every_command_has_help_with_an_example(word: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        marinenav.main([word, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "example" in shown
    assert shown.startswith(f"usage: marinenav {word} ")
    assert f"\n  marinenav {word}" in shown
    assert "\n  python " not in shown


def test_without_a_word_it_lists_the_commands(capsys: pytest.CaptureFixture) -> None:
    for arguments in ([], ["-h"]):
        with pytest.raises(SystemExit) as end:
            marinenav.main(arguments)
        assert end.value.code == 0
        shown = capsys.readouterr().out
        assert all(f"\n  {word} " in shown for word in marinenav.COMMANDS)
    with pytest.raises(SystemExit):
        marinenav.main(["--version"])
    assert __version__ in capsys.readouterr().out


def test_an_unknown_word_is_refused_with_the_nearest(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        marinenav.main(["trian", "-C", "config.json"])
    assert end.value.code == 2
    said = "'trian' is no command; did you mean 'train'? (see marinenav -h)\n"
    assert capsys.readouterr().err == f"marinenav: error: argument COMMAND: {said}"


def test_errors_name_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert marinenav.main(["plot", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("marinenav plot: error: ")


def test_what_is_replaced_is_said_before(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for said in ("", "curves.png: exists and will be replaced\n"):
        assert marinenav.main(["plot", str(runs), "-o", "curves.png"]) == 0
        assert capsys.readouterr().err == said


def test_runs_are_listed_and_compared(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert marinenav.main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0].split() == [
        str(runs / "seed_0"),
        *["finished", "AC-IQN", "60,000", "60,000", "-", "0.50", "0.50", "seed=0"],
    ]
    other = tmp_path / "other"
    shutil.copytree(runs / "seed_0", other / "seed_0")
    config = json.loads((other / "seed_0" / "trial_config.json").read_text()) | {"cvar": 1.0}
    (other / "seed_0" / "trial_config.json").write_text(json.dumps(config))
    assert marinenav.main(["compare", str(runs), str(other)]) == 0
    shown = capsys.readouterr().out
    assert f"A  {runs}  (2 seed(s))\nB  {other}  (1 seed(s))" in shown
    assert "\ncvar  0.5  1.0\n" in shown
    assert shown.splitlines()[-1].split() == ["60,000", "0.50", "6.50", "0.50", "6.50"]


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for word in ("runs", "compare"):
        assert marinenav.main([word, str(tmp_path)]) == 2
        assert f"marinenav {word}: error: {tmp_path}: no trial_config.json" in capsys.readouterr().err


class Links(HTMLParser):
    """Whatever a page asks a browser to load, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.pages: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.links += [values[key] for key in ("src", "href") if key in values]
        self.pages += [values["srcdoc"]] if "srcdoc" in values else []
        if tag not in ("meta", "img", "input", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> str:
    assert marinenav.main(["report", str(runs), "-o", str(tmp_path / "report.html")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'report.html'}: 1 curve(s), ")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_is_one_page_that_needs_nothing_else(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.open == []
    assert len(links.pages) == 1
    inner = Links()
    inner.feed(links.pages[0])
    assert len(links.links) == 1
    assert all(link.startswith("data:image/") for link in links.links + inner.links)
    text = re.sub(r"<[^>]*>", " ", page)
    for words in ("AC-IQN", "0, 1", "60,000", "0.500 ± 0.000", "6.50 ± 0.00", "cvar", "torchrl", "33.5"):
        assert words in text
    assert "Episode 0 of evaluation 1" in text
    assert "&lt;b&gt;" not in text  # where runs are saved tells nothing about them
    assert "/*" not in page.split("<body>")[0].partition("</style>")[2]


def test_without_episodes_it_is_small(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert marinenav.main(["report", f"ours={runs}", "--no-episodes", "-o", str(path)]) == 0
    assert "<iframe" not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 300_000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_plays_the_episode_of_the_report(page: str, tmp_path: Path) -> None:
    # The player inside the page tells the page around it where it has come to.
    told = "start(); setInterval(() =&gt; parent.document.title = label.textContent, 50);\n&lt;/script&gt;"
    (tmp_path / "played.html").write_text(page.replace("show(0);\n&lt;/script&gt;", told))
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    address = (tmp_path / "played.html").as_uri()
    done = subprocess.run(
        [*browser, "--enable-logging=stderr", "--dump-dom", address], capture_output=True, text=True
    )
    assert "<title>87 / 87</title>" in done.stdout
    assert "CONSOLE" not in done.stderr

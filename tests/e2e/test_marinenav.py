"""The command ``marinenav``: its words and their help."""

from pathlib import Path

import pytest

from scripts import marinenav
from torchrl_gpu import __version__


@pytest.mark.parametrize("word", marinenav.COMMANDS)
def test_every_command_has_help_with_an_example(word: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        marinenav.main([word, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "example" in shown
    if not marinenav.COMMANDS[word].module.startswith("torchrl_gpu"):
        assert shown.startswith(f"usage: marinenav {word} ")
        assert f"\n  marinenav {word} " in shown
        assert "python scripts/" not in shown


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


def test_an_unknown_word_is_refused_with_those_there_are(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        marinenav.main(["trian", "-C", "config.json"])
    assert end.value.code == 2
    assert "invalid choice: 'trian' (choose from" in capsys.readouterr().err


def test_errors_name_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert marinenav.main(["plot", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("marinenav plot: error: ")


def test_what_is_replaced_is_said_before(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for said in ("", "traced_DQN_model.pt: exists and will be replaced\n"):
        assert marinenav.main(["export", "-M", str(golden / "agents/checkpoints/DQN")]) == 0
        assert capsys.readouterr().err == said

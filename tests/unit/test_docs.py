"""The documentation says what the code does."""

import re
from pathlib import Path

from torchrl_gpu.settings.schema import reference

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "torchrl_gpu" / "README.md", *(ROOT / "docs").rglob("*.md")]
ROOMS = ("agents", "marinenav_env", "scripts", "torchrl_gpu")
SLIP = re.compile(r"(?:Quirk|Defect)s? [QD]\d+b?(?:(?:, | and )[QD]\d+b?)*")
NAME = re.compile(r"\b[QD]\d+b?\b")


def test_the_config_reference_is_the_schema():
    assert reference() in (ROOT / "torchrl_gpu" / "README.md").read_text(encoding="utf-8")


def test_every_legacy_slip_named_in_the_code_is_in_the_list_of_differences():
    lines = (ROOT / "docs" / "legacy_differences.md").read_text(encoding="utf-8").splitlines()
    listed = {name for line in lines if line.startswith("| ") for name in NAME.findall(line.split("|")[1])}
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    named = {
        name for path in sources for text in SLIP.findall(path.read_text()) for name in NAME.findall(text)
    }
    assert {"Q26", "D9"} <= named
    assert named <= listed


def test_links_between_the_documents_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"

"""The documentation says what the code does, and what the code cites is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "torchrl_gpu" / "README.md", *(ROOT / "docs").rglob("*.md")]
SPEC = ROOT / "docs" / "spec"
CODE = [
    path
    for room in ("agents", "marinenav_env", "scripts", "tests", "torchrl_gpu")
    for path in (ROOT / room).rglob("*.py")
    if path != Path(__file__)
]
NAME = re.compile(r"\b[WAT]\d+b?\b")
NAMED = re.compile(r"\b(?:Quirk|Defect)s?\s+((?:[A-Z]\d+b?(?:, | and )?)+)", re.IGNORECASE)
CHAPTER = r"\d+(?:\.\d+)?"
CITED = re.compile(rf"\b(\w+)\s+spec\s+({CHAPTER}(?:(?:, | and |-){CHAPTER})*)", re.IGNORECASE)


def text_of(path: Path) -> str:
    """Text in one line, without the signs of comments."""
    return re.sub(r"\s*\n\s*(?:# )?", " ", path.read_text(encoding="utf-8"))


def listed() -> list[str]:
    """Names in the first column of the tables of quirks."""
    lines = (SPEC / "quirks.md").read_text(encoding="utf-8").splitlines()
    return [name for line in lines if line.startswith("| ") for name in NAME.findall(line.split("|")[1])]


def chapters(document: str) -> set[str]:
    text = (SPEC / f"{document}.md").read_text(encoding="utf-8")
    return set(re.findall(rf"^##+ ({CHAPTER})\.? ", text, re.MULTILINE))


def test_every_quirk_has_one_name_and_every_name_in_the_code_and_the_specification_is_one():
    assert len(listed()) == len(set(listed()))
    cited = {
        (path.name, name)
        for path in CODE
        for group in NAMED.findall(text_of(path))
        for name in re.findall(r"\w+\d+b?", group)
    }
    cited |= {
        (path.name, name)
        for path in SPEC.glob("*.md")
        for name in NAME.findall(path.read_text(encoding="utf-8"))
    }
    assert {"W26", "A6b", "T9"} <= {name for _, name in cited}
    unknown = sorted((where, name) for where, name in cited if name not in listed())
    assert unknown == [], "see docs/spec/quirks.md: Q3 is now W3 (world) or A3 (agents), D3 is T3"


def test_every_chapter_that_the_code_cites_exists():
    cited = {
        (path.name, document.lower(), chapter)
        for path in CODE
        for document, group in CITED.findall(text_of(path))
        for chapter in re.findall(CHAPTER, group)
    }
    unnamed = [
        p.name for p in CODE if len(re.findall(r"\bspec\s\d", text_of(p))) > len(CITED.findall(text_of(p)))
    ]
    assert unnamed == [], "say which: environment spec, agents spec or training spec"
    assert {document for _, document, _ in cited} == {"environment", "agents", "training"}
    missing = [cite for cite in sorted(cited) if cite[2] not in chapters(cite[1])]
    assert missing == []


@pytest.mark.parametrize(("document", "chapter"), [("environment", "15"), ("agents", "14")])
def test_the_numbers_of_the_specification_are_tested(document: str, chapter: str):
    text = (SPEC / f"{document}.md").read_text(encoding="utf-8")
    part = re.search(rf"^## {chapter}\. .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[0]
    tests = "".join(
        path.read_text(encoding="utf-8").replace("_", "") for path in CODE if "tests" in path.parts
    )
    numbers = {number.rstrip("0") for number in re.findall(r"\d+\.\d{6,}", part)}
    assert len(numbers) > 100
    assert {number for number in numbers if number not in tests} == set()


def test_links_between_the_documents_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_page_is_in_the_navigation():
    pages = re.findall(
        r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(pages) == sorted(
        str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")
    )

"""The documentation says what the code does."""

from pathlib import Path

from torchrl_gpu.config_schema import reference

ROOT = Path(__file__).parents[2]


def test_the_config_reference_is_the_schema():
    assert reference() in (ROOT / "torchrl_gpu" / "README.md").read_text(encoding="utf-8")

"""What a config may hold, in words and as a JSON schema; `python -m torchrl_gpu.settings` writes both."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from agents.settings import FLAGS, Section
from torchrl_gpu.settings.sections import learners, owners, sections

SCHEMA_FILE = Path(__file__).with_name("schema.json")
ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reference" / "keys.md"
BEGIN, END = "<!-- keys: python -m torchrl_gpu.settings -->\n", "<!-- end of keys -->\n"

WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a non-empty string",
    "boolean": "true or false",
    "array": "a non-empty list",
    "object": "an object of equally long lists",
    "null": "null",
}
"""Types of JSON schemas as the messages name them."""


def show(value: Any) -> str:
    """A JSON value on one short line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


@cache
def schema_of(section: type[Section]) -> dict[str, dict[str, Any]]:
    """The JSON schema of every key of a section, references resolved."""
    whole = section.model_json_schema()

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(each) for each in part]
        if not isinstance(part, dict):
            return part
        target = part.get("$ref", "").rpartition("/")[2]
        merged = whole["$defs"][target] | part if target else part
        return {name: resolved(each) for name, each in merged.items() if name not in ("$ref", "title")}

    schemas = {name: resolved(each) for name, each in whole["properties"].items()}
    if "agent_type" in schemas:
        schemas["agent_type"]["enum"] = list(learners())
    return schemas


def allowed(schema: dict[str, Any]) -> str:
    """What a JSON schema accepts, in words."""
    if "anyOf" in schema:
        return " or ".join(allowed(each) for each in schema["anyOf"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(choice) for choice in schema["enum"])
    return WORDS[schema["type"]] + _interval(schema)


def _interval(schema: dict[str, Any]) -> str:
    """Bounds in words, empty without any."""
    low, above, high = (
        int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        for bound in (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    )
    if above is not None:
        return f" above {above}" + ("" if high is None else f" and at most {high}")
    if low is None:
        return "" if high is None else f", at most {high}"
    return f", at least {low}" if high is None else f" from {low} to {high}"


class Key(NamedTuple):
    """One key of a config; learners may differ in what they allow one of the same name to be."""

    name: str
    schema: dict[str, Any]
    required: bool
    owners: list[str]  # learners that have it so


def all_keys() -> list[Key]:
    """Every key, in the order of the sections."""
    found: list[Key] = []
    for name, section in sections().items():
        of = {name: learner.Settings for name, learner in learners().items()} if name == "learner" else {}
        for owner, each in (of or {None: section}).items():
            for key, schema in schema_of(each).items():
                new = Key(key, schema, each.model_fields[key].is_required(), [])
                same = next((known for known in found if known[:3] == new[:3]), new)
                same.owners.extend([owner] if owner else owners()[key])
                if same is new:
                    found.append(new)
    return found


def reference() -> str:
    """All keys as a Markdown table, and the lists of the two schedules."""
    keys = all_keys()
    lines = ["| key | allowed | default | meaning | |", "|---|---|---|---|---|"]
    lines += map(_row, keys)
    lines += ["", "The lists of the schedules:", "", "| list | allowed | meaning |", "|---|---|---|"]
    lists = {name: each for key in keys for name, each in key.schema.get("properties", {}).items()}
    lines += [
        f"| `{name}` | {allowed(each['items'])} | {each['description']} |" for name, each in lists.items()
    ]
    return "\n".join(lines) + "\n"


def _row(key: Key) -> str:
    name, schema, required, some = key
    default = "required" if required else "-" if schema["default"] is None else show(schema["default"])
    whose = "" if len(some) == len(learners()) else f"{', '.join(some)}: "
    mark = "throughput" if schema["throughput"] else ""
    return f"| `{name}` | {allowed(schema)} | {default} | {whose}{schema['description']} | {mark} |"


def json_schema() -> dict[str, Any]:
    """The JSON schema of a config, for editors: every key, a sweep over its values, or a range of them."""
    properties: dict[str, Any] = {"$schema": {"type": "string"}}
    keys = all_keys()
    for name in dict.fromkeys(key.name for key in keys):
        properties[name] = _property([key.schema for key in keys if key.name == name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Config of a training run",
        "type": "object",
        "properties": properties,
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
        "$defs": {"choice": _kinds("choice"), "range": _kinds("uniform", "loguniform", "choice")},
    }


def _kinds(*names: str) -> dict[str, Any]:
    """An object with one of these entries."""
    two = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    entries = {name: {"type": "array", "minItems": 1} if name == "choice" else two for name in names}
    count = {"minProperties": 1, "maxProperties": 1}
    return {"type": "object", "properties": entries, "additionalProperties": False, **count}


def _property(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """What a key may be: as one learner or another has it, or a list of that."""
    told = ("description", "default")
    about = {part: schemas[0][part] for part in told if part in schemas[0]}
    about = {part: value for part, value in about.items() if all(each[part] == value for each in schemas)}
    ones = [{part: each[part] for part in each if part not in (*told, *FLAGS)} for each in schemas]
    ones = [one for k, one in enumerate(ones) if one not in ones[:k]]
    if ones[0].get("type") == "object":
        return about | ones[0]
    sweep = {"type": "array", "minItems": 1, "items": ones[0] if len(ones) == 1 else {"anyOf": ones}}
    numbers = any(one.get("type") in ("integer", "number") for one in ones)
    return about | {"anyOf": [*ones, sweep, {"$ref": f"#/$defs/{'range' if numbers else 'choice'}"}]}


def with_reference(text: str) -> str:
    """A document with the present reference between its marks."""
    return re.sub(f"(?s){BEGIN}.*{END}", lambda _: BEGIN + reference() + END, text)


def write() -> None:
    """Write the schema, and the reference into its document."""
    SCHEMA_FILE.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(with_reference(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

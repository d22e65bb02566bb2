"""Imports run one way, without circles and early; private names stay where they are defined."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORLD, TENSORS = "marinenav_env.envs", "marinenav_env.envs.torchrl_gpu"
# A module imports from its own room and from the floors below; the longest name that fits is its room.
FLOORS = (
    ("marinenav_env", "marinenav_env.files"),
    (f"{WORLD}.contract",),
    (f"{WORLD}.reference", f"{TENSORS}.state"),
    (f"{TENSORS}.ops",),
    (TENSORS,),
    (f"{TENSORS}.env", WORLD),
    (f"{WORLD}.rows",),
    (f"{WORLD}.pettingzoo", f"{WORLD}.gymnasium", f"{WORLD}.gymnasium_vector"),
    ("agents.processor",),
    ("agents.heap", "agents.products"),
    ("agents", "agents.settings", "agents.batch"),
    ("agents.networks", "agents.classical"),
    ("agents.learners", "agents.models.files"),
    ("agents.models.archive", "agents.models.weights"),
    ("agents.agent",),
    ("agents.models", "agents.legacy"),
    ("agents.policies",),
    ("torchrl_gpu", "torchrl_gpu.seeding"),
    ("torchrl_gpu.learn",),
    ("torchrl_gpu.stages",),
    ("torchrl_gpu.replay", "torchrl_gpu.evaluation"),
    ("torchrl_gpu.collect",),
    ("torchrl_gpu.watch",),
    ("torchrl_gpu.torchrl_trainer",),
    ("torchrl_gpu.runs.checkpoint", "torchrl_gpu.seeds_together"),
    ("torchrl_gpu.settings",),
    ("torchrl_gpu.experiment", "torchrl_gpu.runs"),
    ("torchrl_gpu.running",),
    ("torchrl_gpu.api",),
    ("torchrl_gpu.train_torchrl_gpu", "models"),
    ("scripts",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
COMMANDS = (
    "scripts.",
    "torchrl_gpu.train_torchrl_gpu",
    "torchrl_gpu.runs.refusals",
    "torchrl_gpu.settings.sections",
    "torchrl_gpu.settings.trial",
)  # may put off torch
LEGACY_USERS = ("agents.legacy", "scripts.train_rl_agents", "scripts.benchmark")
PUBLIC = {"_replace", "_fields", "_asdict", "_make"}  # of a NamedTuple
PUBLIC |= {"_linear_pointwise"}  # torch's only call of oneDNN for single precision


def read_modules() -> dict[str, ast.Module]:
    """Syntax trees by the name of the module."""
    paths = [
        path
        for top in ("marinenav_env", "agents", "torchrl_gpu", "models", "scripts")
        for path in (ROOT / top).rglob("*.py")
    ]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]
    return {
        name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(names, paths, strict=True)
    }


MODULES = read_modules()


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of this project that a piece of code imports."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in MODULES else node.module
                for a in node.names
            ]
        yield from (name for name in names if name in MODULES)


ARROWS = {name: sorted(set(imports(tree))) for name, tree in MODULES.items()}


def room(name: str) -> str:
    return max((r for r in FLOOR if name == r or name.startswith(r + ".")), key=len)


def arrows_up() -> Iterator[str]:
    """Imports from a higher floor, from another room of the same one, or by outsiders of the legacy room."""
    for name, targets in ARROWS.items():
        for target in targets:
            same, below = room(name) == room(target), FLOOR[room(target)] < FLOOR[room(name)]
            foreign = room(target) == "agents.legacy" and not name.startswith(LEGACY_USERS)
            own = target.startswith(name + ".")  # a package shows what it holds
            if foreign or not (same or below or own):
                yield f"{name} -> {target}"


def reached(name: str) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        new = set(ARROWS[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def circles() -> Iterator[str]:
    """Groups of modules that import each other."""
    after = {name: reached(name) for name in MODULES}
    for name in MODULES:
        if name in after[name]:
            yield " <-> ".join(sorted(other for other in after[name] if name in after[other]))


def late_imports() -> Iterator[str]:
    """Imports inside functions, but for commands and the lazy names of a package."""
    for name, tree in MODULES.items():
        functions = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name != "__getattr__"
        ]
        if not name.startswith(COMMANDS):
            yield from (f"{name}: {target}" for function in functions for target in imports(function))


def private_reads() -> Iterator[str]:
    """Names with an underscore that another module owns; torch's own are its loops over lists of tensors."""
    for name, tree in MODULES.items():
        nodes = list(ast.walk(tree))
        own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)} | PUBLIC
        own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        reads = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
        mine = [
            node
            for node in reads
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "torch")
        ]
        own |= {node.attr for node in mine}
        yield from (f"{name}: {ast.unparse(n)}" for n in reads if n.attr not in own and n.attr[:2] != "__")
        taken = [a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names]
        yield from (f"{name}: {taken_name}" for taken_name in taken if taken_name[0] == "_" != taken_name[1])


@pytest.mark.parametrize("rule", [arrows_up, circles, late_imports, private_reads])
def test_nothing_breaks_the_rule(rule):
    assert sorted(set(rule())) == []

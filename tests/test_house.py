"""The rule of the arrows: what may import what, read from the imports themselves.

Data flows one way: command line, plan, session, workers, backends, samples, statistics, report.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.machine.settings import ROOT

GROUND = {
    "backends.contract",
    "backends.floors",
    "backends.ladder",
    "backends.registry",
    *(f"backends.{name}.ladder" for name in ("jax", "numpy", "pytorch", "tensorflow")),
    "benchmarks.errors",
    "benchmarks.exit_codes",
    "benchmarks.privacy",
    "benchmarks.schema",
    "benchmarks.texts",
    "benchmarks.words",
    "benchmarks.plan.blocks",
    "benchmarks.plan.seats",
    "benchmarks.plan.workload",
    "benchmarks.plan.data",
}
"""What every folder may use, with the modules within it."""

MAY_IMPORT = {
    "backends": set(),
    "benchmarks.machine": set(),
    "benchmarks.plan": {"benchmarks.machine"},
    "benchmarks.bundle": set(),
    "benchmarks.certificates": {"backends"},
    "benchmarks.worker": {"backends", "benchmarks.machine", "benchmarks.certificates"},
    "benchmarks.session": {
        *("benchmarks.plan", "benchmarks.machine", "benchmarks.bundle"),
        # The references that certificates are taken against, and what a worker is asked.
        *("benchmarks.certificates", "benchmarks.worker.messages"),
    },
    "benchmarks.analysis": {"benchmarks.bundle"},
    "benchmarks.reports": {"benchmarks.analysis", "benchmarks.bundle"},
    "benchmarks.terminal": {
        *("benchmarks.analysis", "benchmarks.bundle", "benchmarks.reports", "benchmarks.machine"),
        # What a run tells while it goes on.
        *("benchmarks.plan", "benchmarks.worker.messages"),
    },
    "benchmarks.validation": {
        *("benchmarks.analysis", "benchmarks.bundle", "benchmarks.machine", "benchmarks.plan"),
        *("benchmarks.session", "benchmarks.worker", "benchmarks.certificates", "backends"),
    },
    # Makes whole runs, as commands do.
    "benchmarks.cluster": {"backends", "benchmarks"},
    "benchmarks.commands": {"backends", "benchmarks"},
}
"""The other folders that a folder may use; nothing uses commands."""

FREE = {"benchmarks", "benchmarks.test_training"}
"""Modules that are programs of their own, and the package: it has `load_bundle`, for notebooks."""


def modules(root: Path) -> dict[str, Path]:
    """The file of each module by its dotted name; a package has the name of its folder."""
    paths_by_name = {}
    for folder in ("backends", "benchmarks"):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            paths_by_name[".".join(parts).removesuffix(".__init__")] = path
    return paths_by_name


def imports(path: Path, names_of_modules: set[str]) -> set[str]:
    """The modules of the product that a file imports, wherever in it the import stands."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import, which this test does not follow"
            # `from package import name` imports a module where there is one of that name.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in names_of_modules else str(node.module) for name in names]
        imported |= {name for name in names if name in names_of_modules}
    return imported


def folder_of(module: str) -> str:
    """The entry of MAY_IMPORT that a module belongs to; empty for the ground floor."""
    within = [name for name in MAY_IMPORT if is_within(module, name)]
    return within[0] if within and not is_ground(module) else ""


def is_within(module: str, package: str) -> bool:
    """Whether a module is that package or lies in it."""
    return module == package or module.startswith(f"{package}.")


def is_ground(module: str) -> bool:
    """Whether every folder may use a module."""
    return any(is_within(module, name) for name in GROUND)


def allowed(importer: str, imported: str) -> bool:
    """Whether one module may import another."""
    folder = folder_of(importer)
    if is_ground(imported) or importer in FREE:
        return True
    if not folder:
        return False
    return any(is_within(imported, name) for name in (folder, *MAY_IMPORT[folder]))


def arrows(root: Path) -> set[tuple[str, str]]:
    """Every import of one module of the product by another."""
    paths = modules(root)
    return {(name, other) for name, path in paths.items() for other in imports(path, set(paths))}


def violations(root: Path) -> list[str]:
    """The imports that break the rule, a line each; raises where there is nothing to read."""
    imported = arrows(root)
    packages = {folder_of(name) for name, _ in imported} - {""}
    if packages != set(MAY_IMPORT):
        raise AssertionError(f"read {sorted(packages)}, expected {sorted(MAY_IMPORT)}")
    return sorted(f"{name} imports {other}" for name, other in imported if not allowed(name, other))


def cycle(imported: set[tuple[str, str]]) -> list[str]:
    """Modules that import one another in a circle; empty where none do."""
    graph: dict[str, set[str]] = {}
    for name, other in imported:
        graph.setdefault(name, set()).add(other)
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        done.add(name)
        for other in sorted(graph.get(name, ())):
            if circle := visit(other, [*path, name]):
                return circle
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), [])


def test_every_import_follows_the_arrows() -> None:
    assert violations(ROOT) == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert cycle(arrows(ROOT)) == []
    assert cycle({("a", "b"), ("b", "c"), ("c", "b")}) == ["b", "c"]


def planted(tmp_path: Path, module: str, line: str) -> Path:
    """A copy of the product's modules with one more import in one of them."""
    for name, path in modules(ROOT).items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text() + (f"\n{line}\n" if name == module else ""))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        (
            "benchmarks.analysis.statistics",
            "from benchmarks.session.session import Session",
            "benchmarks.analysis.statistics imports benchmarks.session.session",
        ),
        (
            "benchmarks.reports.run",
            "from benchmarks.commands import options",
            "benchmarks.reports.run imports benchmarks.commands.options",
        ),
        (
            "benchmarks.schema",
            "def late():\n    import benchmarks.worker.clock",
            "benchmarks.schema imports benchmarks.worker.clock",
        ),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, module: str, line: str, expected: str) -> None:
    assert violations(planted(tmp_path, module, line)) == [expected]


def test_a_folder_without_modules_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="read"):
        violations(tmp_path)


def test_folders_and_modules_keep_their_size() -> None:
    paths = list(modules(ROOT).values())
    folders = {path.parent for path in paths}
    assert folders
    crowded = [str(f) for f in folders if len(list(f.glob("*.py"))) > 14]
    long = [str(path) for path in paths if len(path.read_text().splitlines()) > 350]
    assert (crowded, long) == ([], [])

"""The house keeps its shape: imports point one way, and importing it costs nothing that was not asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mechpatch

PACKAGE = Path(mechpatch.__file__).parent
# Each layer may import from the layers before it, and a package from itself.
LAYERS = [
    {"errors", "axes", "catalogue", "data", "formats", "names", "reprs", "sequences", "values"},
    {"points"},
    {"kinds"},
    {"own"},
    {"families", "guide"},
    {"source"},
    {"pairs", "thoughts", "storage", "metrics"},
    {"stats"},
    {"patching"},
    {"models"},
    {"experiments"},
    {"inspection"},
    {"readings"},
    {"verify"},
    {"studies"},
    {"views", "tracking", "scale", "progress"},
    {"workflow"},
    {"library", "sweeps"},
    {"reading"},
    {"console"},
    {"cli"},
    {"__main__"},
]
# What a part must not know although it stands further up: views read records, never a model.
FORBIDDEN = {
    "experiments": {"stats"},
    "views": {"models", "patching", "experiments", "thoughts", "pairs", "verify", "readings"},
    "studies": {"models", "patching", "experiments", "thoughts", "pairs", "verify"},
    "tracking": {"models", "patching", "experiments", "thoughts", "pairs", "verify"},
    "patching": {"pairs", "storage", "stats", "metrics"},
    "models": {"stats", "metrics"},
    "scale": {"stats", "verify", "readings", "inspection", "studies"},
}


def part_of(path: Path) -> str:
    """The part of the house that a file belongs to: a folder or a module of the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> set[str]:
    """Parts of the package that a source imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} if node.module != "mechpatch" else {f"mechpatch.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
    return {name.split(".")[1] for name in names if name.startswith("mechpatch.")}


def wrong_imports(part: str, source: str) -> set[str]:
    """Parts that `part` must not import, but does."""
    level = next(i for i, layer in enumerate(LAYERS) if part in layer)
    allowed = set().union(*LAYERS[:level]) | {part}
    return (imported_parts(source) - allowed) | (imported_parts(source) & FORBIDDEN.get(part, set()))


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_up(path):
    part = part_of(path)
    assert not wrong_imports(part, path.read_text(encoding="utf-8"))


def test_a_wrong_import_is_noticed():
    assert wrong_imports("metrics", "from mechpatch.models import load_model") == {"models"}
    assert wrong_imports("views", "def f():\n    import mechpatch.patching.hooks") == {"patching"}


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_import_is_light():
    heavy = {
        "torch",
        "transformers",
        "transformer_lens",
        "peft",
        "matplotlib",
        "pyarrow",
        "wandb",
        "circuitsvis",
        "ray",
    }
    assert not modules_after("import mechpatch") & heavy
    assert not modules_after("import mechpatch.cli") & heavy


def test_import_of_a_heavy_library_is_noticed():
    assert "pyarrow" in modules_after("import mechpatch.storage.results")

"""Enforces the layers: imports go downward, never in a circle.

Layer 0: the modules of the contract. Layer 1: the rooms on NumPy and SciPy. Layer 2: the rooms on
TensorFlow. Layer 3: the programs. Imports inside functions count as well.
"""

import ast
import dataclasses
import functools
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTRACT = {
    "archives",
    "arrays",
    "backend",
    "scene",
    "classes",
    "config",
    "config_flags",
    "engines",
    "files",
    "parallel",
    "program",
    "replacing",
    "timing",
}
NUMERIC = {"scans", "scannet", "rooms", "segmentation", "scoring", "drawing"}
LEARNING = {"data", "network", "training", "inference", "semantic"}
PROGRAMS = {
    *("train", "predict", "evaluate", "export"),
    *("train_semantic", "predict_semantic", "evaluate_semantic", "export_semantic"),
}
LAYERS = [CONTRACT, NUMERIC, LEARNING, PROGRAMS]
TENSORFLOW = {"tensorflow", "keras", "tf_keras", "tensorflow_addons", "tensorboard"}
BACKEND = "mtml_tf.backend"


@dataclasses.dataclass(frozen=True)
class Import:
    module: str  # what is imported: a module of this repository, or a top-level foreign name
    names: tuple[str, ...]  # names taken from it
    in_function: bool


VERSION = Import("mtml_tf", ("__version__",), False)


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.glob("mtml_tf/**/*.py"))}
SCRIPTS = [*sorted(ROOT.glob("tools/*.py")), *sorted(ROOT.glob("experiments/**/*.py"))]


@functools.cache
def imports_of(path):
    found = []

    def visit(node, in_function):
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, (), in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = []
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    found.append(Import(inner, (), in_function))
                else:
                    names.append(alias.name)
            if names:
                found.append(Import(node.module, tuple(names), in_function))
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, in_function)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def own(module):
    return module == "mtml_tf" or module.startswith("mtml_tf.")


def room_of(module):
    """The module of the contract, the folder, or the program that a module belongs to."""
    return module.removeprefix("mtml_tf.").partition(".")[0]


def layer_of(module):
    return next(i for i, rooms in enumerate(LAYERS) if room_of(module) in rooms)


INNER = [name for name in MODULES if name != "mtml_tf"]


def test_every_module_belongs_to_a_layer():
    rooms = set().union(*LAYERS)
    assert {name for name in INNER if room_of(name) not in rooms} == set()


@pytest.mark.parametrize("module", INNER)
def test_imports_go_downward_or_along_a_layer(module):
    for imported in imports_of(MODULES[module]):
        if not own(imported.module) or imported == VERSION:
            continue
        # Names of the package itself are lazy and would hide which layer they come from.
        assert imported.module != "mtml_tf", f"{module}: import from the module, not the package"
        assert layer_of(imported.module) <= layer_of(module), f"{module} -> {imported.module}"
        if layer_of(module) == LAYERS.index(NUMERIC):
            assert imported.module != BACKEND, f"{module}: knows nothing of TensorFlow"
        if layer_of(module) == LAYERS.index(PROGRAMS):
            assert room_of(imported.module) not in PROGRAMS, f"{module} -> {imported.module}"


def assert_no_circle(graph):
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_no_module_imports_in_a_circle():
    assert_no_circle(
        {
            module: {i.module for i in imports_of(MODULES[module]) if own(i.module)}
            for module in INNER
        }
    )


def test_no_folder_imports_in_a_circle():
    graph = {}
    for module in INNER:
        imported = {room_of(i.module) for i in imports_of(MODULES[module]) if own(i.module)}
        imported -= {room_of(module), "mtml_tf"}
        graph.setdefault(room_of(module), set()).update(imported)
    assert_no_circle(graph)


@pytest.mark.parametrize("module", INNER)
def test_tensorflow_is_imported_by_one_module_only(module):
    if module == BACKEND:
        return
    foreign = {i.module.partition(".")[0] for i in imports_of(MODULES[module])}
    # TensorBoard's plugins do not load TensorFlow when they are imported.
    assert foreign & (TENSORFLOW - {"tensorboard"}) == set()


@pytest.mark.parametrize(
    "path", [*MODULES.values(), *SCRIPTS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_open3d_is_imported_only_where_it_is_used(path):
    for imported in imports_of(path):
        if imported.module.partition(".")[0] == "open3d":
            assert imported.in_function


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_use_public_names_of_existing_modules(path):
    for imported in imports_of(path):
        if own(imported.module):
            assert imported.module in MODULES, imported.module
        for name in (*imported.module.split("."), *imported.names):
            assert name == "__future__" or not name.startswith("_"), f"{imported.module}: {name}"
        assert imported.module.partition(".")[0] not in TENSORFLOW
    tree = ast.parse(path.read_text(encoding="utf-8"))
    packages = {"mtml_tf", *(i.module.rpartition(".")[2] for i in imports_of(path))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            assert not (private and node.value.id in packages), ast.unparse(node)


def test_the_layers_above_are_noticed(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("import os\ndef f():\n    from mtml_tf import backend\n    import open3d\n")
    assert imports_of(path) == [
        Import("os", (), False),
        Import("mtml_tf.backend", (), True),
        Import("open3d", (), True),
    ]

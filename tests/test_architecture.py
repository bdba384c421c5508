"""The tree's rules: who may import whom, what is to be found in one place only, and what the documents list."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROOMS = [
    "core.errors",
    "core.model",
    "core.ink",
    "core.runs",
    "core.data",
    "core.evaluation",
    "core.explain",
    "core.training",
    "core.engine",
    "core.views",
    "core.shipped",
    "ui.headers",
    "ui.last_messages",
    "ui.lean_start",
    "ui.state",
    "ui.navigation",
    "ui.late_requests",
    "ui.messages",
    "ui.digits",
    "ui.cached",
    "ui.driving",
    "ui.guards",
    "ui.runs_menu",
    "ui.status",
    "ui.widgets",
    "ui.start",
    "ui.data",
    "ui.build",
    "ui.train",
    "ui.evaluate",
    "ui.explain",
    "ui.draw",
    "ui.app",
    "pages",
    "streamlit_app",
]  # each may import those before it and its own
PAGES = {"start", "data", "build", "train", "evaluate", "explain", "draw"}  # the folder of each is its page's alone
SLOW = {"dask", "distributed", "matplotlib", "openTSNE", "scipy", "sklearn"}  # to load, so that a function may do it
MOST_METHODS, MOST_LINES, DOORPLATE_LINES = 25, 50, 6
WITH_TENSORFLOW = {
    "core/training/augmentation.py",
    "core/explain/inspection.py",
    "core/model/keras_model.py",
    "core/training/loop.py",
}  # for worker processes only
TENSORFLOW_MODULES = {file.removesuffix(".py").replace("/", ".") for file in WITH_TENSORFLOW}
HEAVY = {"tensorflow", "keras"}
DEFINITIONS = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
LATEST_KINDS = {"SeparableConv2D", "SpatialDropout2D", "Residual"}
WHERE_KINDS_ARE_MADE = {"core/model/specs.py", "core/model/keras_model.py"}

CORE = sorted(ROOT.glob("core/**/*.py"))
APP = [*CORE, *sorted(ROOT.glob("ui/**/*.py")), *sorted(ROOT.glob("pages/**/*.py")), *ROOT.glob("streamlit_app.py")]
ALL = [*APP, *sorted(ROOT.glob("tests/**/*.py")), *sorted(ROOT.glob("benchmarks/**/*.py"))]


def name(path: Path) -> str:
    """`core/model/specs.py`, on every system."""
    return path.relative_to(ROOT).as_posix()


def of_each(paths: list[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Make a test of one file a test of all these, which says which of them fail: with one test each there would be thousands."""

    def of_all(test: Callable[[Path], None]) -> Callable[[], None]:
        def run() -> None:
            assert paths
            failures = []
            for path in paths:
                try:
                    test(path)
                except (AssertionError, SyntaxError, ValueError) as failure:
                    failures.append(f"{name(path)}: {failure}")
            assert not failures, "\n".join(failures)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return of_all


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name(path))


def imported(nodes: ast.AST | list[ast.stmt]) -> set[str]:
    """Full names of the modules that are imported somewhere in there, and of what is taken from them."""
    names: set[str] = set()
    for node in _walk(nodes):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_at_the_top(path: Path) -> set[str]:
    """Those that are imported with the module: outside functions, and not for type checkers alone."""
    return imported([node for node in _at_the_top(tree(path).body) if isinstance(node, ast.Import | ast.ImportFrom)])


def _at_the_top(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _at_the_top(node.orelse)
            continue
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _at_the_top(getattr(node, block, []))


def _walk(nodes: ast.AST | list[ast.stmt]) -> Iterator[ast.AST]:
    for node in nodes if isinstance(nodes, list) else [nodes]:
        yield from ast.walk(node)


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def module(path: Path) -> str:
    """`core.model.specs`; a package is called as its folder."""
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module(path): path for path in APP}
CLASSES: dict[str, list[ast.ClassDef]] = {}  # of ours by name
for node in (one for path in APP for one in ast.walk(tree(path)) if isinstance(one, ast.ClassDef)):
    CLASSES.setdefault(node.name, []).append(node)


def room(module: str) -> str:
    """The room that a module stands in, or that it is: `core.model` of `core.model.specs`."""
    first, *rest = module.split(".")
    return ".".join([first, *rest[:1]]) if first in {"core", "ui"} else first


def ours(names: set[str]) -> set[str]:
    """The modules of ours among imported names."""
    return {one for one in names if one in MODULES}


def imports_in_functions(path: Path) -> list[ast.Import | ast.ImportFrom]:
    nodes = list(ast.walk(tree(path)))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node for node in _walk(functions) if isinstance(node, ast.Import | ast.ImportFrom)]


@of_each([path for path in APP if room(module(path)) not in {"core", "ui"}])
def test_a_room_imports_those_before_it_only(path):
    before = ROOMS[: ROOMS.index(room(module(path))) + 1]

    assert {room(one) for one in ours(imported(tree(path)))} <= {*before, "core", "ui"}


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        one: ours(imported_at_the_top(path)) - {one} for one, path in MODULES.items() if path.name != "__init__.py"
    }
    try:
        TopologicalSorter(graph).prepare()
        circle = []
    except CycleError as error:
        circle = error.args[1]

    assert circle == []


@of_each(APP)
def test_a_pages_folder_is_imported_by_that_page_alone(path):
    parts = Path(name(path)).with_suffix("").parts
    own = parts[1] if parts[0] in {"ui", "pages"} else ""
    of_pages = {
        one.split(".")[1] for one in imported(tree(path)) if one.startswith("ui.") and one.split(".")[1] in PAGES
    }

    assert of_pages <= {own}


@of_each(APP)
def test_a_function_imports_only_what_is_slow_to_load_and_says_so(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in imports_in_functions(path):
        names = imported([node])

        assert names & TENSORFLOW_MODULES or packages(names) & (HEAVY | SLOW), ast.unparse(node)
        assert re.search(r"# .*\w{3}", lines[node.lineno - 1]), f"say why: {ast.unparse(node)}"


@of_each([path for path in APP if path.name == "__init__.py"])
def test_a_rooms_doorplate_is_a_few_lines_and_no_code(path):
    statements = tree(path).body

    assert [type(node) for node in statements] == [ast.Expr]
    assert len(ast.get_docstring(tree(path)).splitlines()) <= DOORPLATE_LINES


def _unsaid(node: ast.Module | ast.ClassDef, owner: str = "") -> Iterator[str]:
    """Names of public classes, functions and methods that say nothing, nor does a base class of ours for them."""
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    for one in node.body:
        if not isinstance(one, DEFINITIONS) or one.name.startswith("_"):
            continue
        is_setter = any(ast.unparse(decorator) == f"{one.name}.setter" for decorator in one.decorator_list)
        if not (ast.get_docstring(one) or is_setter or _is_said(bases, one.name)):
            yield f"{owner}{one.name}"
        if isinstance(one, ast.ClassDef):
            yield from _unsaid(one, f"{owner}{one.name}.")


def _is_said(bases: list[ast.expr], method: str) -> bool:
    classes = [one for base in bases for one in CLASSES.get(ast.unparse(base).partition("[")[0].split(".")[-1], [])]
    return any(
        any(isinstance(one, DEFINITIONS) and one.name == method and ast.get_docstring(one) for one in base.body)
        or _is_said(base.bases, method)
        for base in classes
    )


@of_each(APP)
def test_whatever_is_public_says_what_it_is_for(path):
    """A method that does what a base class says of it needs no words of its own."""
    assert list(_unsaid(tree(path))) == []


@pytest.mark.parametrize(
    ("code", "unsaid"),
    [
        ("def f():\n    pass", ["f"]),
        ("class C:\n    'Say.'\n    def m(self):\n        pass", ["C.m"]),
        ("class C(Question):\n    'Say.'\n    def work(self, tell):\n        pass", []),
        ("class C(question.Question):\n    'Say.'\n    def other(self):\n        pass", ["C.other"]),
        ("class C(specs._Pooling):\n    'Say.'\n    def macs(self, shape):\n        pass", []),
        ("class C:\n    'Say.'\n    @p.setter\n    def p(self, value):\n        pass", []),
        ("class _C:\n    def m(self):\n        pass\ndef _f():\n    pass", []),
    ],
)
def test_what_says_nothing_is_found(code, unsaid):
    assert list(_unsaid(ast.parse(code))) == unsaid


@of_each(CORE)
def test_nothing_in_core_is_too_large_to_be_read(path):
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    methods = {
        node.name: sum(isinstance(one, functions) for one in node.body)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    lines = {
        node.name: node.end_lineno - node.lineno + 1 for node in ast.walk(tree(path)) if isinstance(node, functions)
    }

    assert {one: count for one, count in methods.items() if count > MOST_METHODS} == {}
    assert {one: count for one, count in lines.items() if count > MOST_LINES} == {}


def test_the_architecture_lists_every_module_once():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `((?:core|ui)/[\w/]+\.py)` \|", text, re.MULTILINE)
    there = {name(path) for path in APP if name(path).startswith(("core/", "ui/")) and path.name != "__init__.py"}

    assert [row for row, times in Counter(rows).items() if times > 1] == []
    assert set(rows) == there


def test_the_readme_lists_the_settings_that_are_read():
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in [*CORE, *ROOT.glob("ui/**/*.py"), ROOT / "streamlit_app.py"]
    )
    read = set(re.findall(r'environ(?:\.get\(|\[)\s*"(DIGITLAB_\w+)"', code))
    read |= set(re.findall(r"\$\$\{?(DIGITLAB_\w+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    settings = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(DIGITLAB_\w+)", settings, re.MULTILINE)) == read


@of_each(CORE)
def test_core_knows_no_screen(path):
    assert "streamlit" not in packages(imported(tree(path)))


@of_each(APP)
def test_tensorflow_is_loaded_with_the_modules_for_workers_only(path):
    assert not packages(imported_at_the_top(path)) & HEAVY or name(path) in WITH_TENSORFLOW


@of_each([path for path in APP if not name(path).startswith("core/")])
def test_the_screen_uses_no_tensorflow_at_all(path):
    assert not packages(imported(tree(path))) & HEAVY
    assert not imported(tree(path)) & TENSORFLOW_MODULES


def test_what_the_screen_imports_of_core_loads_no_tensorflow():
    modules = [name(path).removesuffix(".py").replace("/", ".") for path in CORE if name(path) not in WITH_TENSORFLOW]
    lines = ["import sys", *(f"import {module}" for module in modules), f"print(sorted({HEAVY!r} & set(sys.modules)))"]

    loaded = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    assert (loaded.stdout, loaded.stderr, loaded.returncode) == ("[]\n", "", 0)


@of_each(APP)
def test_the_session_is_reached_through_one_door(path):
    uses = any(isinstance(node, ast.Attribute) and node.attr == "session_state" for node in ast.walk(tree(path)))

    assert not uses or name(path) == "ui/state/session.py"
    assert "streamlit.session_state" not in imported(tree(path))


@of_each([path for path in APP if not name(path).startswith("core/")])
def test_runs_are_driven_in_one_place(path):
    """There it is asked whose they are."""
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    orders = {call.attr for call in calls if isinstance(call, ast.Attribute) and "shared()" in ast.unparse(call.value)}

    assert not orders & {"train", "command", "delete"} or name(path) == "ui/driving.py"


@of_each(APP)
def test_pages_are_switched_in_one_place(path):
    uses = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute) and node.attr == "switch_page"]
    of_streamlit = [node for node in uses if ast.unparse(node) == "st.switch_page"]

    assert not of_streamlit or name(path) == "ui/late_requests.py"


@of_each(ALL)
def test_pyplot_is_used_nowhere(path):
    names = imported(tree(path))

    assert not {module for module in names if module.startswith(("matplotlib.pyplot", "pylab"))}


@of_each(APP)
def test_layers_are_made_in_one_place(path):
    uses = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute) and node.attr == "layers"]
    of_keras = [node for node in uses if ast.unparse(node) in ("keras.layers", "tf.keras.layers")]

    assert not of_keras or name(path) == "core/model/keras_model.py"
    assert not {module for module in imported(tree(path)) if "keras.layers" in module}


@of_each(APP)
def test_a_kind_of_layer_is_known_in_the_files_that_make_it_only(path):
    """As for any kind that is yet to come: the others ask what a layer has and does."""
    words = set(re.findall(r"\w+", path.read_text(encoding="utf-8")))

    assert not words & LATEST_KINDS or name(path) in WHERE_KINDS_ARE_MADE


@of_each(APP)
def test_nothing_is_unpickled(path):
    assert not packages(imported(tree(path))) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert "allow_pickle=True" not in path.read_text(encoding="utf-8")


def test_the_places_that_rules_speak_of_exist():
    """A rule about files that were renamed would hold for ever."""
    missing = [file for file in WITH_TENSORFLOW | WHERE_KINDS_ARE_MADE if not (ROOT / file).exists()]

    assert missing == []
    assert len(CORE) > 10


def test_no_module_of_ours_hides_one_of_pythons_own_or_one_that_is_installed():
    """`ui/` is on the path, where a worker that starts meanwhile finds it, too: `data` is found there, as is `build`."""
    names = {
        path.stem for place in ("ui", "pages") for path in (ROOT / place).iterdir() if not path.name.startswith("_")
    }
    names |= {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert names & sys.stdlib_module_names == set()
    assert names & set(packages_distributions()) == set()


def test_a_worker_that_starts_while_a_page_is_drawn_does_not_run_the_app_again():
    app = ROOT / "ui" / "app.py"
    names = {"__name__": "app", "__file__": str(app)}
    exec(compile(app.read_text(encoding="utf-8"), str(app), "exec"), names)  # noqa: S102

    assert "__file__" not in names


def _unescaped(node: ast.AST) -> Iterator[str]:
    """Errors and runs' names in an expression that do not go through `messages`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("messages."):
        return
    said = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
    if said == "error" or said.endswith("record().name"):
        yield said
    for child in ast.iter_child_nodes(node):
        yield from _unescaped(child)


@of_each([path for path in APP if name(path).startswith(("ui/", "pages/"))])
def test_what_is_drawn_of_errors_and_names_goes_through_messages(path):
    drawn = [
        (node.lineno, said)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("st.") and name(path) != "ui/messages.py"
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
        for said in _unescaped(argument)
    ]

    assert drawn == []


@of_each(APP)
def test_no_number_is_typed_where_a_browser_drops_its_comma(path):
    assert not [
        node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute) and node.attr == "number_input"
    ]


def test_a_run_of_the_script_leaves_the_path_as_it_is():
    """A folder that came and went at its front would hide modules from other threads that look for one just then."""
    lines = [
        "import sys, streamlit_app",
        "from streamlit.runtime.scriptrunner.exec_code import modified_sys_path",
        "before = list(sys.path)",
        "with modified_sys_path(str(streamlit_app.app.script_path)):",
        "    print(sys.path == before)",
    ]

    told = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    assert (told.stdout, told.returncode) == ("True\n", 0), told.stderr


def test_every_module_of_core_has_tests_of_its_name():
    tests = {path.relative_to(ROOT / "tests/core") for path in (ROOT / "tests/core").glob("**/test_*.py")}
    tested = {test.with_name(test.name.removeprefix("test_")) for test in tests}

    assert [
        name(path) for path in CORE if path.stem != "__init__" and path.relative_to(ROOT / "core") not in tested
    ] == []

"""The house rules that no linter knows, each with its reason, each shown to bite."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("app", "broker", "order", "proof", "sandbox", "shared", "strategy")
LONGEST_FILE = 450

Offence = tuple[int, str]
Rule = Callable[[str, ast.Module], Iterator[Offence]]

# Places that may do what a rule forbids, with the reason. A line that is no longer needed fails, too.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("shared/clock.py", "clock_as_argument"): "this is the Clock",
    ("app/doctor.py", "clock_as_argument"): "looks at the machine's own clock, nothing is decided on it",
    ("shared/bus/stream.py", "clock_as_argument"): "judges messages from outside by the receiver's clock",
    ("shared/settings.py", "one_reader_of_the_environment"): "this is the reader",
    ("app/cli.py", "one_reader_of_the_environment"): "sets a switch of pydantic before it is imported",
    ("app/bench/idle.py", "one_reader_of_the_environment"): "hands the environment on to a child",
    ("app/bench/scene.py", "one_reader_of_the_environment"): "hands the environment on to a child",
    ("proof/stage.py", "one_reader_of_the_environment"): "hands the environment on to its children",
    ("proof/clock.py", "clock_as_argument"): "is the clock that other processes see, moved",
    ("shared/store/thread.py", "narrow_excepts"): "what a call raises belongs to its caller elsewhere",
    ("tests/test_crash.py", "no_print_in_rooms"): "seed and log, shown where a test fails",
    ("tests/proof/test_race.py", "no_print_in_rooms"): "how many races there were of which kind, when asked",
    ("tests/shared/bus/test_embedded.py", "no_sleeping_in_tests"): "shows that something does not happen",
    ("tests/strategy/test_relay.py", "no_sleeping_in_tests"): "shows that something does not happen",
    ("shared/bus/watcher.py", "no_print_in_rooms"): "a process of its own; its output is how it reports",
}

_NO_NOUN = {"utils", "helpers", "common", "services", "util", "helper", "misc"}
# Written so that this file does not name what it looks for.
_MACHINE = re.compile(r"(?<![\w./:-])/(?:wor[k]|roo[t]|home/[\w]+|Users/[\w]+)/")
_REGISTRY = re.compile(r"pypi[.]org|pythonhosted[.]org|registry\.npmjs[.]org|deb\.debian[.]org")


def _name(node: ast.expr) -> str:
    """Return `a.b.c` for a chain of names, else the last name that can be told."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, _name(node.func)


def nouns(path: str, tree: ast.Module) -> Iterator[Offence]:
    """A module named `utils` or `services` lacks a noun; what it holds has a home elsewhere."""
    for part in Path(path).with_suffix("").parts:
        if part in _NO_NOUN:
            yield 1, f"'{part}' says nothing; name what is in it"


def narrow_excepts(path: str, tree: ast.Module) -> Iterator[Offence]:
    """A broad except hides defects; cleaning up and raising on is fine."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(each is None or _name(each) in {"Exception", "BaseException"} for each in caught)
        raises_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if broad and not raises_on:
            yield node.lineno, "catches everything; name what can happen"


def aware_instants(path: str, tree: ast.Module) -> Iterator[Offence]:
    """An instant without a zone is a guess, and the machine's zone is nobody's business."""
    for call, name in _calls(tree):
        if re.search(r"(^|\.)(utcnow|utcfromtimestamp)$|(^|\.)date\.(today|fromtimestamp)$", name):
            yield call.lineno, f"{name} has no time zone"
        if re.search(r"(^|\.)datetime\.now$", name) and not (call.args or call.keywords):
            yield call.lineno, f"{name}() has no time zone"
        if re.search(r"(^|\.)datetime\.fromtimestamp$", name) and len(call.args) + len(call.keywords) < 2:
            yield call.lineno, f"{name} has no time zone"


def clock_as_argument(path: str, tree: ast.Module) -> Iterator[Offence]:
    """What reads the wall clock by itself cannot be replayed: time comes in by `shared.clock`."""
    if path.startswith("tests/"):
        return
    for call, name in _calls(tree):
        if name in {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now"}:
            yield call.lineno, f"{name} bypasses the Clock"


def one_reader_of_the_environment(path: str, tree: ast.Module) -> Iterator[Offence]:
    """Settings have one reader, or two parts of the system believe different ones."""
    if path.startswith("tests/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _name(node) in {"os.environ", "os.getenv"}:
            yield node.lineno, "reads the environment; ask shared.settings"


def no_sleeping_in_tests(path: str, tree: ast.Module) -> Iterator[Offence]:
    """A fixed sleep is too short on one machine and too long on all others; a poll in a loop is fine."""
    if not path.startswith("tests/"):
        return
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.While | ast.For | ast.AsyncFor)]
    polled = {id(node) for loop in loops for node in ast.walk(loop)}
    for call, name in _calls(tree):
        yields = call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
        if name == "time.sleep" or (name == "asyncio.sleep" and not yields and id(call) not in polled):
            yield call.lineno, "sleeps; wait for the thing itself, or poll for it"


def no_print_in_rooms(path: str, tree: ast.Module) -> Iterator[Offence]:
    """Rooms log; only the front (app) and the story test speak to a person."""
    if path.startswith("app/") or path == "tests/test_complete_flow.py":
        return
    for call, name in _calls(tree):
        if name == "print":
            yield call.lineno, "prints; return it or log it"


def tasks_are_kept(path: str, tree: ast.Module) -> Iterator[Offence]:
    """The loop holds tasks weakly: one that nobody keeps may vanish, and its error with it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = _name(node.value.func)
            # A TaskGroup keeps its own.
            if re.search(r"^(asyncio|.*loop|)\.?(create_task|ensure_future)$", name):
                yield node.lineno, "starts a task that nobody keeps"


def exact_money(path: str, tree: ast.Module) -> Iterator[Offence]:
    """Money on the order side is Decimal or whole paise; a float there loses paise."""
    if path.startswith(("order/", "broker/")):
        for call, name in _calls(tree):
            if name == "float":
                yield call.lineno, "makes a float of an exact value"


def docstrings(path: str, tree: ast.Module) -> Iterator[Offence]:
    """Every module, and everything public in it, says what it is for; a test's name does so itself."""
    if path.startswith("tests/"):
        return
    if ast.get_docstring(tree) is None:
        yield 1, "the module has no docstring"
    if "/versions/" not in path:
        yield from _undocumented(tree)


def _undocumented(scope: ast.Module | ast.ClassDef) -> Iterator[Offence]:
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            # A setter or an overload is told by its first half.
            if ast.get_docstring(node) is None and not node.decorator_list:
                yield node.lineno, f"{node.name} has no docstring"
            if isinstance(node, ast.ClassDef):
                yield from _undocumented(node)


def postponed_annotations(path: str, tree: ast.Module) -> Iterator[Offence]:
    """Annotations are not evaluated: imports stay cheap and forward names work everywhere alike."""
    if len(tree.body) > 1 and "/migrations/" not in path:
        first = tree.body[1] if ast.get_docstring(tree) else tree.body[0]
        if not (isinstance(first, ast.ImportFrom) and first.module == "__future__"):
            yield 1, "lacks `from __future__ import annotations`"


def cheap_packages(path: str, tree: ast.Module) -> Iterator[Offence]:
    """An `__init__.py` is a docstring: commands answer at once because imports bring little along."""
    if path.endswith("__init__.py") and (len(tree.body) != 1 or ast.get_docstring(tree) is None):
        yield 1, "holds more than a docstring"


RULES: list[Rule] = [
    nouns, narrow_excepts, aware_instants, clock_as_argument, one_reader_of_the_environment,
    no_sleeping_in_tests, no_print_in_rooms, tasks_are_kept, exact_money, docstrings,
    postponed_annotations, cheap_packages,
]  # fmt: skip

# rule, where, source that breaks it, source that does not
SAMPLES: list[tuple[Rule, str, str, str]] = [
    (narrow_excepts, "order/x.py", "try: f()\nexcept Exception: pass", "try: f()\nexcept OSError: pass"),
    (narrow_excepts, "order/x.py", "try: f()\nexcept: pass", "try: f()\nexcept BaseException:\n  raise"),
    (narrow_excepts, "order/x.py", "try: f()\nexcept (OSError, Exception) as e: g(e)", "f()"),
    (aware_instants, "order/x.py", "datetime.now()", "datetime.now(UTC)"),
    (aware_instants, "order/x.py", "dt.datetime.utcnow()", "clock.now_us()"),
    (aware_instants, "order/x.py", "datetime.fromtimestamp(1)", "datetime.fromtimestamp(1, UTC)"),
    (clock_as_argument, "order/x.py", "time.time()", "time.monotonic()"),
    (clock_as_argument, "order/x.py", "datetime.now(UTC)", "utc_now(clock)"),
    (one_reader_of_the_environment, "order/x.py", "os.environ['A']", "settings.home"),
    (no_sleeping_in_tests, "tests/x.py", "time.sleep(1)", "clock.advance(1)"),
    (no_sleeping_in_tests, "tests/x.py", "await asyncio.sleep(1)", "await asyncio.sleep(0)"),
    (no_sleeping_in_tests, "tests/x.py", "await asyncio.sleep(1)", "while f(): await asyncio.sleep(0.01)"),
    (no_print_in_rooms, "order/x.py", "print(1)", "log.info(1)"),
    (tasks_are_kept, "order/x.py", "asyncio.create_task(f())", "task = asyncio.create_task(f())"),
    (tasks_are_kept, "order/x.py", "loop.create_task(f())", "group.create_task(f())"),
    (exact_money, "order/x.py", "float(price)", "Decimal(price)"),
    (docstrings, "order/x.py", '"""M."""\ndef f(): ...', '"""M."""\ndef f():\n  """F."""\ndef _g(): ...'),
    (docstrings, "order/x.py", '"""M."""\nclass A:\n  """A."""\n  def f(self): ...', '"""M."""'),
    (postponed_annotations, "order/x.py", "import a\nimport b", "from __future__ import annotations\na"),
    (cheap_packages, "order/__init__.py", '"""M."""\nimport a', '"""M."""'),
]


def sources() -> Iterator[tuple[str, str]]:
    """Yield path (relative, with slashes) and text of each Python file of the project."""
    for room in (*ROOMS, "tests"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            yield path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8")


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and text of everything that is written by hand."""
    yield from sources()
    kept = {".md", ".toml", ".json", ".template", ".txt", ""}
    # A list of hashes is a tool's own; .env belongs to the user.
    left = {".env", ".git", ".uv-bootstrap.txt"}
    for folder in (PROJECT, PROJECT / ".ci", PROJECT / "data", PROJECT / "docs"):
        files = folder.iterdir() if folder == PROJECT else folder.rglob("*")
        for path in sorted(files):
            if path.is_file() and path.suffix in kept and path.name not in left:
                yield path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def offences() -> dict[Rule, list[str]]:
    """What each rule finds in the project; every file is parsed once."""
    found: dict[Rule, list[str]] = {rule: [] for rule in RULES}
    for path, text in sources():
        tree = ast.parse(text)
        for rule in RULES:
            if (path, rule.__name__) not in EXCEPTIONS:
                found[rule] += (f"{path}:{line}: {what}" for line, what in rule(path, tree))
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_project_keeps_the_rule(rule: Rule, offences: dict[Rule, list[str]]) -> None:
    assert offences[rule] == [], f"{rule.__doc__}\n" + "\n".join(offences[rule])


@pytest.mark.parametrize(("rule", "path", "bad", "good"), SAMPLES)
def test_rule_catches_the_offence_and_nothing_else(rule: Rule, path: str, bad: str, good: str) -> None:
    assert list(rule(path, ast.parse(bad)))
    assert not list(rule(path, ast.parse(good)))


def test_every_exception_is_still_needed() -> None:
    rules = {rule.__name__: rule for rule in RULES}
    found = dict(sources())
    idle = [key for key in EXCEPTIONS if not list(rules[key[1]](key[0], ast.parse(found.get(key[0], ""))))]
    assert idle == []


def test_module_without_a_noun_is_caught() -> None:
    assert list(nouns("order/utils.py", ast.parse("")))
    assert list(nouns("shared/common/prices.py", ast.parse("")))
    assert not list(nouns("order/books.py", ast.parse("")))


def test_no_file_is_longer_than_a_sitting() -> None:
    long = [(path, count) for path, text in sources() if (count := len(text.splitlines())) > LONGEST_FILE]
    assert long == []


def test_tests_hold_no_package() -> None:
    # Else tests/order would be imported as `order` and shadow the room.
    assert list((PROJECT / "tests").rglob("__init__.py")) == []


def test_each_test_file_mirrors_a_module() -> None:
    strangers = []
    for path in sorted((PROJECT / "tests").glob("*/**/test_*.py")):
        relative = path.relative_to(PROJECT / "tests")
        # A contract suite belongs to everything that keeps the contract.
        subject = relative.stem.removeprefix("test_").removesuffix("_contract")
        module = PROJECT / relative.parent / subject
        if not (module.with_suffix(".py").is_file() or module.is_dir()):
            strangers.append(relative.as_posix())
    assert strangers == []


@pytest.mark.parametrize("pattern", [_MACHINE, _REGISTRY], ids=["machine", "registry"])
def test_nothing_names_a_machine_or_a_registry(pattern: re.Pattern[str]) -> None:
    offences = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert offences == []


@pytest.mark.parametrize("line", ["cd /" + "work/x", "open('/" + "root/x')", '"/' + 'home/me/x"'])
def test_path_of_a_machine_is_caught(line: str) -> None:
    assert _MACHINE.search(line)


def test_every_test_that_the_documentation_names_is_there() -> None:
    missing = []
    for path, text in texts():
        if path.endswith(".md"):
            for file, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", text):
                found = (PROJECT / file).read_text(encoding="utf-8") if (PROJECT / file).is_file() else None
                if found is None or (name and f"def {name}(" not in found):
                    missing.append(f"{path}: {file}::{name}")
    assert missing == []

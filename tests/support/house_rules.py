"""The house rules, as pure functions over source text.

A rule takes what it judges and yields one line per violation, `path:line: what, and why`; no lines means it
holds. The tables at the top are the rules' data: to let a module own a library, or to prove it in another
place, change the table and say why. `tests/test_house_rules.py` runs every rule on this repository and shows
that each one can fail.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 5
MAX_MODULES = 12
MIRROR_ABOVE_LINES = 30

SOURCES = ("gateway", "tests", "bench", "deploy")
"""The folders that hold Python."""

OWNERS: Mapping[str, tuple[str, ...]] = {
    "cryptography": ("gateway/store/notebook.py",),
    "fastapi": (
        "gateway/control/api.py",
        "gateway/control/api_*.py",
        "gateway/app.py",
        "gateway/simulator/app.py",
    ),
    "httptools": ("gateway/proxy/transport/wire.py", "gateway/cli/edge.py"),
    "httpx2": (
        "gateway/evals/*",
        "gateway/control/notify/*",
        "gateway/control/vendor.py",
        "gateway/cli/*",
        "gateway/demo/*",
    ),
    "jsonschema_rs": ("gateway/core/checks/schemas.py",),
    "msgspec": ("gateway/compat/*", "gateway/core/types.py"),
    "prometheus_client": ("gateway/series.py",),
    "pydantic": (
        "gateway/settings.py",
        "gateway/config/*",
        "gateway/control/schemas.py",
        "gateway/control/api.py",
        "gateway/control/feedback.py",
    ),
    "pydantic_settings": ("gateway/settings.py",),
    "redis": ("gateway/store/backends/redis_link.py",),
    "rich": ("gateway/cli/*", "gateway/demo/*"),
    "sqlite3": ("gateway/store/backends/sqlite_file.py",),
    "starlette": (
        "gateway/control/api.py",
        "gateway/control/api_*.py",
        "gateway/control/feedback.py",
        "gateway/app.py",
        "gateway/simulator/app.py",
    ),
    "typer": ("gateway/cli/*", "gateway/demo/*"),
    "uvicorn": ("gateway/cli/*", "gateway/demo/*", "gateway/app.py"),
    "uvloop": ("gateway/cli/*", "gateway/demo/*", "gateway/app.py"),
    "yaml": ("gateway/config/reading.py",),
    "zstandard": ("gateway/proxy/*",),
}
"""Who may import what: one owner per third party (and sqlite3), so that replacing one is a local change."""

PROVEN_ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "gateway/core/tally.py": ("tests/core/counts/test_docs.py", "plain numbers; adding up is their meaning"),
    "gateway/store/ports.py": ("tests/store/test_contract.py", "Protocols; the suite is their meaning"),
    "gateway/store/backends/redis_evidence.py": (
        "tests/store/test_contract_evidence.py",
        "one suite for both stores",
    ),
    "gateway/store/backends/redis_store.py": ("tests/store/test_contract.py", "one suite for both stores"),
    "gateway/store/backends/sqlite_evidence.py": (
        "tests/store/test_contract_evidence.py",
        "one suite for both stores",
    ),
    "gateway/store/backends/sqlite_rows.py": (
        "tests/store/test_contract_memory.py",
        "one suite for both stores",
    ),
    "gateway/store/backends/sqlite_store.py": ("tests/store/test_contract.py", "one suite for both stores"),
}
"""Modules without a mirror test file: the test that covers them, and why."""

VAGUE_NAMES = frozenset({"common", "helper", "helpers", "misc", "util", "utils"})


@dataclass(frozen=True, slots=True)
class CallBan:
    """A call that is wrong in some part of the tree."""

    name: str
    """Dotted, as if imported in full."""
    where: str
    """The pattern of paths that it is banned from."""
    reason: str
    exempt: tuple[str, ...] = ()
    """The pattern of paths inside `where` that may."""


CALL_BANS = (
    CallBan("time.sleep", "tests/*", "tests move a clock by hand"),
    CallBan("asyncio.sleep", "tests/*", "tests move a clock by hand; asyncio.sleep(0) yields"),
    CallBan("print", "gateway/*", "log it", exempt=("gateway/cli/*", "gateway/demo/*")),
    CallBan("asyncio.create_task", "gateway/*", "Tasks.spawn holds, names and drains it"),
    CallBan("asyncio.ensure_future", "gateway/*", "Tasks.spawn holds, names and drains it"),
    CallBan("time.time", "gateway/*", "take a Clock", exempt=("gateway/tasks.py",)),
    CallBan("time.monotonic", "gateway/*", "take a Clock", exempt=("gateway/tasks.py",)),
)


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file, parsed."""

    path: str
    """From the repository's root, with forward slashes."""
    source: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, source: str) -> "Module":
        return cls(path, source, ast.parse(source, path))

    @property
    def line_count(self) -> int:
        return len(self.source.splitlines())

    def matches(self, patterns: Iterable[str]) -> bool:
        return any(fnmatch(self.path, pattern) for pattern in patterns)

    @property
    def shipped(self) -> bool:
        """Whether users run it."""
        return self.path.startswith("gateway/")


def read_modules(root: Path) -> list[Module]:
    """Every Python file of the repository."""
    files = sorted(file for folder in SOURCES for file in (root / folder).rglob("*.py"))
    return [Module.parse(file.relative_to(root).as_posix(), file.read_text("utf-8")) for file in files]


# --- rules on one module ------------------------------------------------------------------------------------


def file_fits(module: Module) -> Iterator[str]:
    if module.line_count > MAX_FILE_LINES:
        yield f"{module.path}:1: {module.line_count} lines, at most {MAX_FILE_LINES}; a module is one idea"


def functions_fit(module: Module) -> Iterator[str]:
    for function in _functions(module.tree) if module.shipped else ():
        lines = _span(function) - (_span(function.body[0]) if ast.get_docstring(function) else 0)
        if lines > MAX_FUNCTION_LINES:
            yield (
                f"{module.path}:{function.lineno}: {function.name} has {lines} lines without its docstring, "
                f"at most {MAX_FUNCTION_LINES}"
            )


def few_positional_parameters(module: Module) -> Iterator[str]:
    methods = {
        id(node) for owner in ast.walk(module.tree) if isinstance(owner, ast.ClassDef) for node in owner.body
    }
    for function in _functions(module.tree) if module.shipped else ():
        count = len(function.args.posonlyargs) + len(function.args.args)
        static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
        count -= id(function) in methods and not static
        if count > MAX_POSITIONAL:
            yield (
                f"{module.path}:{function.lineno}: {function.name} takes {count} positional parameters, "
                f"at most {MAX_POSITIONAL}; the others are keyword-only"
            )


def has_docstring(module: Module) -> Iterator[str]:
    if module.shipped and not ast.get_docstring(module.tree):
        yield f"{module.path}:1: no module docstring; it tells the story and the rules once"


def is_finished(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.source.splitlines() if module.shipped else (), start=1):
        if marker := re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield f"{module.path}:{number}: {marker[0]}; finish it or write a decision"


def third_parties_have_one_owner(module: Module) -> Iterator[str]:
    for line, name in _imports(module.tree) if module.shipped else ():
        if name in OWNERS and not module.matches(OWNERS[name]):
            yield f"{module.path}:{line}: imports {name}, which belongs to {', '.join(OWNERS[name])}"
        elif name not in OWNERS and name != "gateway" and name not in sys.stdlib_module_names:
            yield f"{module.path}:{line}: imports {name}, which has no owner; give it one in OWNERS"


def calls_are_allowed(module: Module) -> Iterator[str]:
    bans = {
        ban.name: ban for ban in CALL_BANS if module.matches([ban.where]) and not module.matches(ban.exempt)
    }
    origins = _origins(module.tree)
    for call in (node for node in ast.walk(module.tree) if isinstance(node, ast.Call)):
        head, _, rest = ast.unparse(call.func).partition(".")
        name = ".".join(filter(None, (origins.get(head, head), rest)))
        yields_only = name == "asyncio.sleep" and [ast.unparse(argument) for argument in call.args] == ["0"]
        if name in bans and not yields_only:
            yield f"{module.path}:{call.lineno}: calls {name}; {bans[name].reason}"


MODULE_RULES = (
    file_fits,
    functions_fit,
    few_positional_parameters,
    has_docstring,
    is_finished,
    third_parties_have_one_owner,
    calls_are_allowed,
)


# --- rules on the tree --------------------------------------------------------------------------------------


def packages_are_small(paths: Collection[str]) -> Iterator[str]:
    sizes = Counter(
        str(PurePosixPath(path).parent)
        for path in paths
        if path.startswith("gateway/") and not path.endswith("/__init__.py")
    )
    for package, count in sizes.items():
        if count > MAX_MODULES:
            yield f"{package}: {count} modules, at most {MAX_MODULES}; a package is a plane or a treaty"


def names_say_something(paths: Collection[str]) -> Iterator[str]:
    for path in paths:
        for part in PurePosixPath(path).with_suffix("").parts:
            if part in VAGUE_NAMES:
                yield f"{path}: {part} says nothing; name what it holds"


def every_module_is_proven(modules: Collection[Module], paths: Collection[str]) -> Iterator[str]:
    for module in modules:
        if not module.shipped or module.line_count <= MIRROR_ABOVE_LINES:
            continue
        test, _reason = PROVEN_ELSEWHERE.get(module.path, (mirror_of(module.path), ""))
        if test not in paths:
            yield f"{module.path}: {test} is missing; every module is proven by the test file that mirrors it"


def mirror_of(path: str) -> str:
    """gateway/core/assign.py → tests/core/test_assign.py; a package's own file → test_init.py."""
    module = PurePosixPath(path).relative_to("gateway")
    return str(PurePosixPath("tests") / module.with_name(f"test_{module.stem.strip('_')}.py"))


# --- rules on the lock file ---------------------------------------------------------------------------------


def lock_is_portable(lock: str) -> Iterator[str]:
    allowed = ("https://pypi.org/simple", "https://files.pythonhosted.org/")
    for number, line in enumerate(lock.splitlines(), start=1):
        for url in re.findall(r'"([a-z+]+://[^"]*)"', line):
            if not url.startswith(allowed):
                yield f"uv.lock:{number}: {url}; only the public index serves everybody"
        for local in re.findall(r'\b(?:path|directory|editable|virtual) = "([^"]*)"', line):
            if local != ".":
                yield f"uv.lock:{number}: {local} is a path on one machine"


def lock_covers(requirements: Iterable[str], lock: str) -> Iterator[str]:
    locked = set(re.findall(r'^name = "([^"]+)"$', lock, re.MULTILINE))
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        if name not in locked:
            yield f"uv.lock: {name} is required but not locked; run uv lock"


# --- reading the syntax tree --------------------------------------------------------------------------------


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and top-level package of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").partition(".")[0]


def _origins(tree: ast.Module) -> dict[str, str]:
    """What each imported local name stands for: `from time import sleep as nap` → {"nap": "time.sleep"}."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return origins

"""This repository obeys its house rules, and every rule notices when it is broken."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import house_rules
from tests.support.house_rules import Module

ROOT = Path(__file__).parents[1]
MODULES = house_rules.read_modules(ROOT)
PATHS = [module.path for module in MODULES]

Rule = Callable[[Module], Iterator[str]]


@pytest.mark.parametrize("rule", house_rules.MODULE_RULES, ids=lambda rule: rule.__name__)
def test_every_module_obeys(rule: Rule) -> None:
    assert [violation for module in MODULES for violation in rule(module)] == []


def test_packages_are_small() -> None:
    assert list(house_rules.packages_are_small(PATHS)) == []


def test_names_say_something() -> None:
    assert list(house_rules.names_say_something(PATHS)) == []


def test_every_module_is_proven() -> None:
    assert list(house_rules.every_module_is_proven(MODULES, PATHS)) == []


def test_the_lock_file_is_portable_and_complete() -> None:
    lock = (ROOT / "uv.lock").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    required = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    assert [*house_rules.lock_is_portable(lock), *house_rules.lock_covers(required, lock)] == []


# --- each rule can fail -------------------------------------------------------------------------------------

LONG_BODY = "    x = 1\n" * 40
LONG_DOCSTRING = '    """Story.\n' + "    line\n" * 60 + '    """\n'

BROKEN: list[tuple[Rule, str, str, str]] = [
    (house_rules.file_fits, "tests/a.py", "x = 1\n" * 401, "401 lines"),
    (house_rules.functions_fit, "gateway/a.py", f"def f():\n{LONG_BODY}", "f has 41 lines"),
    (house_rules.functions_fit, "gateway/a.py", f"class A:\n  async def f():\n{LONG_BODY}", "f has 41 lines"),
    (house_rules.few_positional_parameters, "gateway/a.py", "def f(a, b, c, d, e, g): ...", "6 positional"),
    (
        house_rules.few_positional_parameters,
        "gateway/a.py",
        "class A:\n  @staticmethod\n  def f(a, b, c, d, e, g): ...",
        "6 positional",
    ),
    (house_rules.has_docstring, "gateway/a.py", "x = 1", "no module docstring"),
    (house_rules.is_finished, "gateway/a.py", "x = 1  # TO" + "DO later", "finish it"),
    (
        house_rules.third_parties_have_one_owner,
        "gateway/proxy/a.py",
        "import redis.asyncio",
        "redis_link.py",
    ),
    (house_rules.third_parties_have_one_owner, "gateway/store/a.py", "import sqlite3", "sqlite_file.py"),
    (house_rules.third_parties_have_one_owner, "gateway/a.py", "import pytest", "has no owner"),
    (house_rules.calls_are_allowed, "tests/a.py", "import time\ntime.sleep(1)", "a.py:2: calls time.sleep"),
    (house_rules.calls_are_allowed, "tests/a.py", "from time import sleep as s\ns(0)", "calls time.sleep"),
    (house_rules.calls_are_allowed, "tests/a.py", "import asyncio as a\na.sleep(0.1)", "calls asyncio.sleep"),
    (house_rules.calls_are_allowed, "gateway/app.py", "print(1)", "log it"),
    (house_rules.calls_are_allowed, "gateway/app.py", "asyncio.create_task(f())", "Tasks.spawn"),
    (house_rules.calls_are_allowed, "gateway/app.py", "import time\ntime.time()", "take a Clock"),
]


@pytest.mark.parametrize(("rule", "path", "source", "complaint"), BROKEN)
def test_a_rule_notices(rule: Rule, path: str, source: str, complaint: str) -> None:
    (violation,) = rule(Module.parse(path, source))
    assert violation.startswith(f"{path}:")
    assert complaint in violation


KEPT: list[tuple[Rule, str, str]] = [
    (house_rules.file_fits, "gateway/a.py", "x = 1\n" * 400),
    (house_rules.functions_fit, "gateway/a.py", f"def f():\n{LONG_DOCSTRING}{LONG_BODY[10:]}"),
    (house_rules.functions_fit, "tests/a.py", f"def f():\n{LONG_BODY}"),
    (house_rules.few_positional_parameters, "gateway/a.py", "def f(a, b, c, d, e, *, g, h): ..."),
    (house_rules.few_positional_parameters, "gateway/a.py", "class A:\n  def f(self, a, b, c, d, e): ..."),
    (house_rules.third_parties_have_one_owner, "gateway/cli/a.py", "import typer, json\nimport gateway.core"),
    (house_rules.calls_are_allowed, "tests/a.py", "import asyncio\nasyncio.sleep(0)"),
    (house_rules.calls_are_allowed, "gateway/cli/a.py", "print(1)"),
    (house_rules.calls_are_allowed, "gateway/tasks.py", "import time\ntime.time()"),
]


@pytest.mark.parametrize(("rule", "path", "source"), KEPT)
def test_a_rule_leaves_the_rest_alone(rule: Rule, path: str, source: str) -> None:
    assert list(rule(Module.parse(path, source))) == []


def test_a_crowded_package_is_noticed() -> None:
    crowd = [f"gateway/core/m{n}.py" for n in range(12)] + ["gateway/core/__init__.py"]
    assert list(house_rules.packages_are_small(crowd)) == []
    assert "13 modules" in next(house_rules.packages_are_small([*crowd, "gateway/core/more.py"]))


@pytest.mark.parametrize("path", ["gateway/utils.py", "gateway/common/a.py", "tests/helpers/__init__.py"])
def test_a_vague_name_is_noticed(path: str) -> None:
    assert len(list(house_rules.names_say_something([path]))) == 1


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("gateway/core/assign.py", "tests/core/test_assign.py"),
        ("gateway/app.py", "tests/test_app.py"),
        ("gateway/core/__init__.py", "tests/core/test_init.py"),
        ("gateway/store/ports.py", "tests/store/test_contract.py"),
    ],
)
def test_an_unproven_module_is_noticed(path: str, test: str) -> None:
    module = Module.parse(path, "x = 1\n" * 31)
    assert test in next(house_rules.every_module_is_proven([module], [path]))
    assert list(house_rules.every_module_is_proven([module], [path, test])) == []


def test_a_small_module_needs_no_mirror() -> None:
    assert list(house_rules.every_module_is_proven([Module.parse("gateway/a.py", "x = 1\n" * 30)], [])) == []


@pytest.mark.parametrize(
    "line",
    [
        'source = { registry = "https://mirror.example/simple" }',
        '{ url = "file:///wheels/a.whl" }',
        'source = { path = "/wheels/a.whl" }',
    ],
)
def test_a_lock_file_for_one_machine_is_noticed(line: str) -> None:
    assert list(house_rules.lock_is_portable(line)) != []


def test_a_requirement_that_is_not_locked_is_noticed() -> None:
    lock = 'name = "types-pyyaml"\n'
    assert list(house_rules.lock_covers(["types-PyYAML>=6; python_version < '4'"], lock)) == []
    assert "redis" in next(house_rules.lock_covers(["redis>=8"], lock))

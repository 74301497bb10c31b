"""Reading YAML files, and the files that a document names."""

import re
from collections.abc import Callable, Iterable
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gateway.errors import ConfigError

T = TypeVar("T")


def included(path: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files that patterns name, each once; a name without a wildcard stands for itself."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        matches = sorted(glob(pattern, root_dir=path.parent)) if has_magic(pattern) else [pattern]
        found |= dict.fromkeys(path.parent / match for match in matches)
    return list(found)


def read_each(
    paths: Iterable[Path], reader: Callable[[Path], T], problems: list[str]
) -> list[tuple[Path, T]]:
    """Read every file, and write down what is wrong with those that cannot be."""
    found = []
    for file in paths:
        try:
            found.append((file, reader(file)))
        except ConfigError as error:
            problems.append(error.message)
    return found


class _StrictLoader(yaml.SafeLoader):
    """YAML without its traps: `on` and `no` are words, 18:00 is no number, and a key stands once."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


_PLAIN = {
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (
        r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$",
        "-+0123456789",
    ),
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
}
"""What is no text although it stands without quotes: YAML's own, less the traps."""
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _PLAIN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _PLAIN.items():
    _StrictLoader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def read(path: Path) -> object:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8") from None
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{path}: {line}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None

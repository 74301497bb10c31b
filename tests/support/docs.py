"""What the documents promise, read from their text: links to files, and `make` targets."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_MAKE = re.compile(r"(?:^|[`&;|(\s])make ((?:[a-z][a-z-]*\s*)+)")


def documents(root: Path) -> list[Path]:
    """The documents that users and contributors read, of those that exist."""
    named = [root / "README.md", root / "ARCHITECTURE.md", root / "CHANGELOG.md"]
    return [file for file in [*named, *sorted((root / "docs").rglob("*.md"))] if file.exists()]


def broken_links(path: str, text: str, exists: Callable[[str], bool]) -> Iterator[str]:
    """The relative links of the document at `path` that lead to no file."""
    prose = _CODE_SPAN.sub("", _FENCE.sub("", text))
    for link in (match[1] or match[2] for match in _LINK.finditer(prose)):
        target = link.partition("#")[0]
        if re.match(r"[a-z]+:", target) or not target:
            continue
        if target.startswith("/") or not exists(str(PurePosixPath(path).parent / target)):
            yield f"{path}: {link} leads nowhere"


def makefile_targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))


def unknown_targets(path: str, text: str, targets: set[str]) -> Iterator[str]:
    """The `make` targets that the document names, in code, and that do not exist."""
    for code in [match[0] for pattern in (_FENCE, _CODE_SPAN) for match in pattern.finditer(text)]:
        for line in code.splitlines():
            for called in _MAKE.finditer(line.partition("#")[0]):
                for target in called[1].split():
                    if target not in targets:
                        yield f"{path}: make {target} does not exist"

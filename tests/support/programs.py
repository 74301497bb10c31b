"""Programs of the system that the tests of the deployment run. A missing one fails; it is never a skip."""

import os
import shutil
from pathlib import Path

SYSTEM_PATHS = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian keeps servers; not on everybody's PATH."""


def program(name: str) -> Path:
    """Return where the program is, or fail and say how to get it."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_PATHS]))
    assert found is not None, f"{name} is missing; `make deps-deploy` installs it (Debian, Ubuntu; root)"
    return Path(found)

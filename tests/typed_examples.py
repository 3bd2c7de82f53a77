"""The Python of the README and the guides, as a strict type checker sees it.

    python -m tests.typed_examples

It needs mypy, which the tests do not. What is typed at a prompt (`>>>`) is left out.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from mypy import api

from tests.test_docs import MODULE, PAGES, ROOT

FENCE = re.compile(r"^```python\n(?!>>>)(.*?)^```$", re.DOTALL | re.MULTILINE)
CACHE = ROOT / ".mypy_cache"
OPTIONS = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={CACHE}"]
"""The project's own, so that what mypy knows of the library from checking it is used again."""

LENIENT = '# mypy: allow-redefinition, disable-error-code="exhaustive-match,import-not-found"\n'
"""Names of a page are used again further down, and a page may import what it wrote in a place that
readers do not see. Whether a `match` is exhaustive is a question of this project's own code."""


def write(page: str) -> None:
    """Write a page's modules, and all its other code as one script."""
    script = []
    for block in FENCE.findall(page):
        if named := MODULE.match(block):
            Path(named[1]).parent.mkdir(exist_ok=True)
            Path(named[1]).write_text(LENIENT + block)
        else:
            script.append(block)
    Path("script.py").write_text(LENIENT + "\n".join(script))


def main() -> int:
    """Check the pages; the answer is how many have a fault."""
    os.environ["MYPYPATH"] = str(ROOT)  # the library in this folder, not an installed one
    faulty = 0
    for page in PAGES:
        with TemporaryDirectory() as folder, chdir(folder):
            write(page.read_text())
            said, failed, code = api.run([*OPTIONS, "."])
        if code:
            sys.stdout.write(f"{page.relative_to(ROOT)}:\n{said}{failed}")
        faulty += bool(code)
    return faulty


if __name__ == "__main__":
    sys.exit(main())

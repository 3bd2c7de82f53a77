"""Where a store is: the URLs that name one."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from sessions.errors import InvalidURL
from sessions.sqlite import MEMORY


def path_of(url: str) -> str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, or `memory:`.

    Raises:
        InvalidURL: It names no place where a store can be.
    """
    if url in {"memory:", "memory://"}:
        return MEMORY
    scheme, separator, rest = url.partition(":///")
    if scheme != "sqlite" or not separator:
        raise InvalidURL(url=url, rule="it begins with sqlite:/// or is memory:")
    if rest == MEMORY:
        raise InvalidURL(url=url, rule="a store in memory is memory:")
    path = Path(re.sub("^/+", "/", unquote(rest))).absolute()
    if not rest or "\0" in str(path) or path.is_dir():
        raise InvalidURL(url=url, rule="it names no file")
    if not path.parent.is_dir():
        raise InvalidURL(url=url, rule=f"the directory {path.parent} does not exist")
    return str(path)

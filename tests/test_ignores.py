"""What ruff and mypy are told to overlook has its reason beside it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
IGNORE = re.compile(r"# (noqa|type: ignore)\b(: [A-Z]+\d+(, [A-Z]+\d+)*|\[[a-z, -]+\])?")
REASON = re.compile(r" +#? *[^\s#]")


def _without_reason(line: str) -> bool:
    return any(not REASON.match(line, ignore.end()) for ignore in IGNORE.finditer(line))


def test_every_ignore_has_its_reason() -> None:
    files = [
        file
        for folder in ("sessions", "projections", "tests")
        for file in ROOT.glob(f"{folder}/**/*.py")
    ]
    assert len(files) > 200

    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if _without_reason(line)
    ]
    assert found == []


def test_each_rule_that_is_left_out_for_files_has_its_reason() -> None:
    lint = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff.lint]")[2]

    rules = [row for row in lint.partition("[tool.ruff.lint.pydocstyle]")[0].splitlines()
             if re.match(r' +"[A-Z]+\d*",', row)]  # fmt: skip

    assert len(rules) > 10
    assert [row for row in rules if not re.search(r"# \w", row)] == []

"""The pages name files and modules that exist, keep to lines that can be read, and the log keeps
its form.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("cnn_core", "pipeline", "benchmarks", "tests")
FOLDERS = (*PACKAGES, "conf", "docs")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# A page may leave out the package: `fused/block.py` is cnn_core/fused/block.py.
ROOTS = (ROOT, ROOT / "cnn_core", ROOT / "pipeline")
FILES = {path.name for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
LOG = ROOT / "docs" / "LOG.md"
WRITTEN_BY_HAND = (
    "README.md",
    "README.ja.md",
    "SECURITY.md",
    "docs/DEPENDENCIES.md",
    "docs/LOG.md",
    "docs/PLUGINS.md",
    "docs/SCALING.md",
    "docs/index.md",
    "docs/learn/inside-a-cnn.md",
    *(f"docs/learn/{page.name}" for page in (ROOT / "docs" / "learn").glob("[0-9R]*.md")),
)


def wrong_paths(text: str) -> list[str]:
    """Return what backticks name that is nowhere in the tree: .py files, and paths below the
    folders of FOLDERS.
    """
    spans = " ".join(re.findall(r"`([^`\n]+)`", re.sub(FENCED, "", text)))
    below = rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w/.-]*\w"
    named = re.findall(rf"{below}|(?<![\w/.-])[\w/]+\.py\b", spans)
    return [
        name
        for name in named
        if not any((root / name).exists() for root in ROOTS)
        and not ("/" not in name and name in FILES)
    ]


def wrong_modules(text: str) -> list[str]:
    """Return the dotted names of our packages that are neither a module nor a name in one."""
    named = re.findall(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+", text)
    return [name for name in named if not exists(name.split("."))]


def exists(parts: list[str]) -> bool:
    """Whether the parts lead to a module, or to a name that the module's text holds."""
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        module = path.with_suffix(".py")
        if path.is_dir():  # a package that is run alone has but its __main__
            names = ("__init__.py", "__main__.py")
            module = next(filter(Path.is_file, (path / name for name in names)), path)
        if not module.is_file():
            continue
        rest = parts[length : length + 1]
        return all(re.search(rf"\b{name}\b", module.read_text()) for name in rest)
    return False


def long_lines(text: str) -> list[str]:
    """Return prose of more than 100 characters a line: no code block, no row of a table."""
    prose = re.sub(FENCED, "", text)
    return [line for line in prose.splitlines() if len(line) > 100 and line[0] != "|"]


def topics() -> list[str]:
    """Return the log's topics in their order, its contents left out."""
    return re.findall(r"^## (?!Contents)(.+)$", LOG.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    assert wrong_paths(text) + wrong_modules(text) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (
            "`cnn_core/fused/ladder.py`, `fused/few.py`",
            ["cnn_core/fused/ladder.py", "fused/few.py"],
        ),
        ("`gone.py`, `fused/block.py`, `training.py`, `tests/conftest.py`", ["gone.py"]),
        ("`conf/no_such/` and `conf/final/`", ["conf/no_such"]),
        ("`cnn_core.columns`, `cnn_core.kernels.window`", ["cnn_core.columns"]),
        ("`python -m pipeline.swep` or `python -m pipeline.sweep`", ["pipeline.swep"]),
        (
            "`cnn_core.training.train_epoch`, `cnn_core.training.no_such`",
            ["cnn_core.training.no_such"],
        ),
        ("`python -m pytest tests/core`; a pipeline. And `outputs/pipeline.db`", []),
    ],
)
def test_what_is_not_in_the_tree_is_found(text: str, wrong: list[str]) -> None:
    assert wrong_paths(text) + wrong_modules(text) == wrong


@pytest.mark.parametrize("name", WRITTEN_BY_HAND)
def test_lines_of_prose_have_at_most_100_characters(name: str) -> None:
    assert long_lines((ROOT / name).read_text()) == []
    assert long_lines("a" * 101 + "\n| " + "b" * 101 + "\n```\n" + "c" * 101 + "\n```\n") != []


def test_each_experiment_of_the_log_has_a_day_and_a_verdict() -> None:
    headings = re.findall(r"^### .*$", LOG.read_text(), re.MULTILINE)
    form = re.compile(r"### \d{4}-\d\d-\d\d \S.*: (worked|did not|undecided)")
    assert [heading for heading in headings if not form.fullmatch(heading)] == []
    assert len(headings) > 100 and len(set(headings)) == len(headings)


def test_the_contents_of_the_log_are_its_topics() -> None:
    contents = re.findall(r"^- \[([^]]+)\]\(#", LOG.read_text(), re.MULTILINE)
    assert contents == topics()


def test_a_comment_that_points_to_the_log_names_one_of_its_topics() -> None:
    places = [*ROOT.glob("cnn_core/**/*.py"), *ROOT.glob("pipeline/**/*.py")]
    places += ROOT.glob("conf/**/*.yaml")
    pointed: dict[str, str] = {}
    for path in places:
        text = re.sub(r"\s+#?\s*", " ", path.read_text())  # a comment may break the line
        for topic in re.findall(r"docs/LOG\.md([^).]*)", text):
            pointed[f"{path.relative_to(ROOT)}{topic}"] = topic.removeprefix(", ")
    assert pointed
    assert {place: topic for place, topic in pointed.items() if topic not in topics()} == {}


def test_each_promise_of_the_security_page_names_a_test_that_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    promises = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    named = re.findall(r"`(test_\w+)`", text)
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 12
    assert [name for name in named if f"def {name}(" not in sources] == []
    assert [part for part in promises if "`test_" not in part and "Not promised" not in part] == []

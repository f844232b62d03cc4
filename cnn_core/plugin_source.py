"""The files of a plug-in: their digest, their import, and the line where something stands."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from cnn_core.errors import InputError

DIGITS = 16  # of the sha256: enough to tell a user's own files apart
PREFIX = "cnn_plugin_"  # of the names under which plug-ins are imported


@dataclass(frozen=True, kw_only=True)
class PluginSpec:
    """A plug-in that a net needs: where it is, and its digest."""

    path: str
    digest: str


def conf_beside(path: Path) -> Path | None:
    """Return the folder conf/ of a plug-in's configuration files, None where there is none; a
    whole configuration, such as the project's own, is not a plug-in's.
    """
    conf = (path if path.is_dir() else path.parent) / "conf"
    return conf if conf.is_dir() and not (conf / "config.yaml").exists() else None


def digest_of(path: Path) -> str:
    """Return the digest of a plug-in: of all its files by their names and contents."""
    known = hashlib.sha256()
    for name, file in sorted(files_of(path).items()):
        content = file.read_bytes()
        known.update(f"{name}\0{len(content)}\0".encode() + content)
    return known.hexdigest()[:DIGITS]


def files_of(path: Path) -> dict[str, Path]:
    """Return name -> path of a plug-in's files: its own, or all of its package's, and the
    configuration beside it but for spaces, which are part of a study themselves.
    """
    root = _root(path)
    files = {root.name: root} if root.is_file() else _below(root, "*.py")
    if (conf := conf_beside(path)) is not None:
        files |= {
            f"conf/{name}": file
            for name, file in _below(conf, "*.yaml").items()
            if not name.startswith("space/")
        }
    return files


def _below(folder: Path, pattern: str) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in folder.rglob(pattern)}


def _root(path: Path) -> Path:
    """Return the folder of the package that a file is in, the file itself where it is alone."""
    root = path
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    return root


class _FreshSource(SourceFileLoader):
    """Compiles what the file holds now: a compiled file kept by Python tells changes by the second
    alone.
    """

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True)


def imported(path: Path, digest: str) -> ModuleType:
    """Import a file, or a package and the module of it that is meant, under a name that nothing
    else has.
    """
    root, name = _root(path), f"{PREFIX}{digest}"
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        module = _executed(root / "__init__.py" if root.is_dir() else root, name)
        parts = () if path == root else path.relative_to(root).with_suffix("").parts
        return importlib.import_module(".".join([name, *parts])) if parts else module
    except (Exception, SystemExit) as error:
        forget(digest)
        kind = "must be Python" if isinstance(error, SyntaxError) else "must import"
        got = f"{type(error).__name__}: {error}"
        raise InputError(f"plugins: {raised_at(error, path) or path}: {kind}, got {got}") from error
    finally:
        sys.dont_write_bytecode = before


def forget(digest: str) -> None:
    """Remove the modules of a plug-in that cannot be used."""
    name = f"{PREFIX}{digest}"
    for known in [key for key in sys.modules if key.partition(".")[0] == name]:
        del sys.modules[known]


def _executed(file: Path, name: str) -> ModuleType:
    package = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, file, loader=_FreshSource(name, str(file)), submodule_search_locations=package
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def raised_at(error: BaseException, path: Path) -> str | None:
    """Return file and line in a plug-in where an error arose, None where it was elsewhere."""
    root = _root(path)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(str(root))]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


def place_of(module: ModuleType, kind: str, value: Any) -> str:
    """Return file and line of a class or function of the plug-in, else of its table."""
    file = str(module.__file__)
    try:
        if (
            str(getattr(value, "__module__", "")).partition(".")[0]
            == module.__name__.partition(".")[0]
        ):
            return f"{inspect.getsourcefile(value)}:{inspect.getsourcelines(value)[1]}"
    except (OSError, TypeError):
        pass
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == kind for target in targets):
            return f"{file}:{node.lineno}"  # type: ignore[attr-defined]
    return file

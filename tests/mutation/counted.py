"""Which changes are no mutants, because they change words or types alone and no test should hold
them: decided by where a text stands, not by hand.
"""

from collections.abc import Sequence

import libcst as cst

# What a call of these is given is shown to people, or tells the type checker something.
SAYS = {
    *("print", "warn", "warning", "info", "debug", "error", "log", "note", "say", "cast"),
    *("TypeVar", "ParamSpec", "NewType"),
}
# Keywords whose texts are shown to people.
WORDS = {
    "help",
    "about",
    "description",
    "title",
    "label",
    "reason",
    "prog",
    "metavar",
    "epilog",
    "licence",
}
SETTING = "setting"  # its second argument says what the setting means
# Nothing in these changes what is computed: types, imports, and what an error says. As mutmut
# does, decorators are left out too.
SILENT = (cst.Annotation, cst.Import, cst.ImportFrom, cst.Raise, cst.Decorator)


def holds_only_words(node: cst.CSTNode, around: Sequence[cst.CSTNode]) -> bool:
    """Whether nothing in a node is to be mutated: annotations, what an error says, what is printed,
    the words of a setting, imports, docstrings, decorators.
    """
    if isinstance(node, cst.Call):
        return _name(node.func) in SAYS or _name(node.func).endswith("Error")
    if isinstance(node, cst.Arg):
        return _is_words(node, around[-1])
    if isinstance(node, cst.If):
        return isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"
    if isinstance(node, cst.Expr):
        return isinstance(node.value, cst.BaseString)
    return isinstance(node, SILENT)


def counts(before: cst.CSTNode, after: cst.CSTNode) -> bool:
    """Whether a change is a mutant: to take away or replace words is none, nor is it to call a
    type's variable None.
    """
    if isinstance(before, cst.Call) and isinstance(after, cst.Call):
        gone = [arg for arg in before.args if not any(arg is kept for kept in after.args)]
        return not gone or not all(_is_words(arg, before) for arg in gone)
    if isinstance(before, cst.Assign | cst.AnnAssign) and isinstance(before.value, cst.Call):
        return _name(before.value.func) not in SAYS
    return True


def _is_words(arg: cst.Arg, call: cst.CSTNode) -> bool:
    if arg.keyword is not None and arg.keyword.value in WORDS:
        return True
    if not isinstance(call, cst.Call) or _name(call.func) != SETTING or len(call.args) < 2:
        return False
    return call.args[1] is arg


def _name(function: cst.BaseExpression) -> str:
    if isinstance(function, cst.Attribute):
        return function.attr.value
    return function.value if isinstance(function, cst.Name) else ""

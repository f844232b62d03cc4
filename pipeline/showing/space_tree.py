"""A search space as a tree: each choice that decides something is a branch, with what is asked for
under it.
"""

from rich.text import Text
from rich.tree import Tree

from pipeline.configuration.overrides import literal
from pipeline.search.parameter import Parameter
from pipeline.search.space import Space


def space_tree(space: Space, title: str) -> Tree:
    """Return the tree. A parameter with several conditions stands under the one decided last; the
    others are named beside it.
    """
    tree = Tree(Text(title, style="bold"))
    order = {name: number for number, name in enumerate(space.names)}
    _add(tree, space, [parameter for parameter in space.parameters if not parameter.when], order)
    return tree


def _add(branch: Tree, space: Space, parameters: list[Parameter], order: dict[str, int]) -> None:
    width = max((len(_label(parameter)) for parameter in parameters), default=0)
    for parameter in parameters:
        dependent = [
            other
            for other in space.parameters
            if other.when and max(other.when, key=order.__getitem__) == parameter.name
        ]
        text = Text(_label(parameter).ljust(width), style="cyan").append(
            f"  {parameter.describe()}", style="default"
        )
        others = sorted(parameter.when, key=order.__getitem__)[:-1]
        if others:
            conditions = ", ".join(
                f"{name}={'|'.join(map(literal, parameter.when[name]))}" for name in others
            )
            text.append(f"  (where {conditions})", style="dim")
        node = branch.add(text)
        for value in parameter.choices if dependent else ():
            under = [other for other in dependent if value in other.when[parameter.name]]
            twig = node.add(Text(literal(value)))
            _add(twig, space, under, order)


def _label(parameter: Parameter) -> str:
    return (
        parameter.path
        if parameter.path == parameter.name
        else f"{parameter.path} ({parameter.name})"
    )

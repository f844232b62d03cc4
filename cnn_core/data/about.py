"""What a labelled set says of itself beside its arrays: names, form, copies."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from cnn_core.axes import Indices
from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError

MOST_CLASSES = 1_000_000  # that are only counted
# The fields that make a digest: those that came later concern other pictures.
OLD = ("channels", "height", "width", "full_scale", "invert", "normalize")


@dataclass(frozen=True, kw_only=True)
class About:
    """What a labelled set says of itself: its classes' names in the labels' order, what was done to
    its pictures, and which of them show the same.
    """

    name: str
    class_names: tuple[str, ...]
    form: ImageForm
    groups: tuple[tuple[int, ...], ...] = ()  # indices of pictures that are (nearly) equal

    def firsts(self, count: int) -> Indices | None:
        """Return the first member of each picture's group, (count,), None where there are none."""
        if not self.groups:
            return None
        found = np.arange(count)
        for group in self.groups:
            found[list(group)] = group[0]
        return found

    def of_its_own(self) -> str:
        """Return as text what the arrays do not say, empty where there is nothing to say."""
        # What concerns other pictures does not show in the arrays.
        form = replace(self.form, other_sizes="resample", background="", source=(), columns=())
        plain = ImageForm(channels=form.channels, height=form.height, width=form.width)
        said: dict[str, Any] = {}
        if self.class_names != numbered_classes(len(self.class_names)):
            said["class_names"] = self.class_names
        if form != plain:
            said["form"] = {name: value for name, value in asdict(form).items() if name in OLD}
        if self.groups:
            said["groups"] = self.groups
        if self.form.columns:  # else equal pictures of other columns would share one folder
            said["columns"] = self.form.columns
        return json.dumps(said, sort_keys=True) if said else ""


def numbered_classes(count: int) -> tuple[str, ...]:
    """Return the names 0 to count - 1."""
    return tuple(map(str, range(count)))


def about_from(manifest: dict[str, Any], shape: tuple[int, ...]) -> About:
    """Return what a manifest says; one of before names and forms has numbered classes."""
    channels, height, width = shape[1:]
    form = {"channels": channels, "height": height, "width": width, **manifest.get("form", {})}
    names = manifest.get("class_names")
    if not names:
        if not 1 <= manifest["classes"] <= MOST_CLASSES:
            raise InputError(f"classes must be 1 to {MOST_CLASSES:,}, got another number")
        names = numbered_classes(manifest["classes"])
    groups = tuple(tuple(map(int, group)) for group in manifest.get("groups", ()))
    if not all(groups) or any(not 0 <= index < shape[0] for group in groups for index in group):
        raise InputError(f"groups must each hold indices of {shape[0]} pictures, got others")
    return About(
        name=str(manifest["name"]),
        class_names=tuple(map(str, names)),
        form=ImageForm(**form),
        groups=groups,
    )

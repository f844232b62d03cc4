"""The table of targets: one entry a reader."""

from tests.fuzz.bundle_targets import BUNDLE_TARGETS
from tests.fuzz.input_targets import INPUT_TARGETS
from tests.fuzz.target import Target
from tests.fuzz.text_targets import TEXT_TARGETS

TARGETS: dict[str, Target] = {
    target.name: target for target in (*INPUT_TARGETS, *TEXT_TARGETS, *BUNDLE_TARGETS)
}

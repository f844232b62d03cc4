"""From command line and conf/ to a typed, checked configuration: ``compose(overrides) -> Config``,
``spec_of(config, data, seed) -> Spec``, and the frame of a command.
"""

from cnn_core.field_checks import setting
from pipeline.configuration.command_line import command_line, version
from pipeline.configuration.compose import compose
from pipeline.configuration.hydra_tree import conf_dir
from pipeline.configuration.overrides import command_of, override
from pipeline.configuration.tree import SWEEP, Command, Config, spec_of

__all__ = [
    "SWEEP",
    "Command",
    "Config",
    "command_line",
    "command_of",
    "compose",
    "conf_dir",
    "override",
    "setting",
    "spec_of",
    "version",
]

"""From command line and conf/ to a typed, checked configuration: ``compose(overrides) -> Config``,
``spec_of(config, data, seed) -> Spec``, and the frame of a command.
"""

from cnn_core.field_checks import setting
from pipeline.configuration.command_line import command_line, version
from pipeline.configuration.compose import compose
from pipeline.configuration.hydra_tree import conf_dir
from pipeline.configuration.overrides import override
from pipeline.configuration.shell_lines import again, command_of, given_of, going_on
from pipeline.configuration.tree import SWEEP, Command, Config, spec_of

__all__ = [
    "SWEEP",
    "Command",
    "Config",
    "again",
    "command_line",
    "command_of",
    "compose",
    "conf_dir",
    "given_of",
    "going_on",
    "override",
    "setting",
    "spec_of",
    "version",
]

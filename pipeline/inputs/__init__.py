"""Every form in which images can come."""

from pipeline.inputs.input_source import Block, Hints, InputSource

__all__ = ["Block", "Hints", "InputSource"]

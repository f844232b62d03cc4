"""Layers joined for speed: what `cnn_core.fusion.fuse` puts in place of runs of plain layers."""

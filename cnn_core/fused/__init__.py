"""Layers joined for speed: what `cnn_core.fused.fuse.fuse` puts in place of runs of plain layers."""

"""Layers joined for speed: what `cnn_core.fused.fuse.fuse` puts for runs of plain layers."""

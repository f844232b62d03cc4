"""Layers fused for speed: `cnn_core.fused.fuse.fuse` replaces runs of plain layers by them."""

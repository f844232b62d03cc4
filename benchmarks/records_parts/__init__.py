"""Records: their recipes, a file each; how a net of ours and one of PyTorch are trained."""

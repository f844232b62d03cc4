"""Arrays of images: .npy, .npz, IDX, MATLAB 5."""

"""What ``data=`` can be: one dataclass a source, shared fields first."""
# ruff: noqa: RUF009 - setting() is dataclasses.field() with words

from dataclasses import dataclass

from pipeline.configuration.settings import setting


@dataclass
class DataSettings:
    """Fields of every source. Limits on sizes are stratified and come after the split."""

    name: str = setting("digits", "where the images come from")
    valid_fraction: float = setting(
        1 / 6, "share of the training images held out for validation", above=0, below=1
    )
    split_seed: int = setting(
        0, "of the validation split; the same in all studies, so that they can be compared", low=0
    )
    train_size: int | None = setting(None, "training images used; null: all", low=1)
    valid_size: int | None = setting(None, "validation images used; null: all", low=1)
    reserve: int = setting(
        0, "images taken out before any split, neither trained on nor validated on", low=0
    )
    valid_images: str = setting(
        "clean",
        "validate on images as they are, or on disturbed copies (the contest proxy)",
        choices=("clean", "proxy"),
    )


@dataclass
class HeldOutSettings(DataSettings):
    """Sources without a test set of their own: a fixed, stratified share is set aside before
    anything else is done.
    """

    test_fraction: float = setting(
        0.1, "share set aside for the one final test; 0: none", low=0, below=1
    )
    test_seed: int = setting(0, "of that share", low=0)


@dataclass
class DigitsSettings(HeldOutSettings):
    """scikit-learn's 1,797 real 8x8 digits, always there."""


@dataclass
class MnistSettings(DataSettings):
    """The 70,000 images of MNIST, found or downloaded, verified by digest."""

    root: str | None = setting(
        None, "folder of the four files; null: $CNN_DATA_DIR/mnist, the user's cache, or a download"
    )
    download: bool = setting(True, "whether files that are not found may be downloaded")


@dataclass
class FileSettings(HeldOutSettings):
    """Sources read from one's own files."""

    root: str | None = setting(
        None,
        "folder that relative paths start from; null: $CNN_DATA_DIR/<data>, or the working "
        "directory",
    )
    classes: int | None = setting(
        None, "number of classes; null: the largest label plus one", low=2, high=1000
    )


@dataclass
class IdxSettings(FileSettings):
    images: str | None = setting(None, "IDX file of images, also .gz")
    labels: str | None = setting(None, "IDX file of labels, also .gz")
    test_images: str | None = setting(
        None, "IDX file of test images; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "IDX file of test labels")


@dataclass
class CsvSettings(FileSettings):
    file: str | None = setting(None, "CSV file, a row an image: a label and its pixels")
    test_file: str | None = setting(
        None, "labelled CSV of test images; null: test_fraction is held out"
    )
    label: str = setting("auto", "label column: auto, first, last, or its name in the header")
    shape: list[int] = setting(
        [], "channels, height, width of an image; empty: one square channel", low=1
    )


@dataclass
class NpzSettings(FileSettings):
    file: str | None = setting(None, ".npz with arrays of images and labels, no pickles")
    images: str = setting(
        "auto", "name of the array of images: (N, H, W), (N, C, H, W) or (N, H, W, C) uint8"
    )
    labels: str = setting("auto", "name of the array of labels: (N,)")
    test_images: str | None = setting(
        None, "name of the array of test images; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "name of the array of test labels")


@dataclass
class ImagesSettings(FileSettings):
    folder: str | None = setting(None, "folder with one folder of PNG or JPEG files a class")
    test_folder: str | None = setting(
        None, "the same for the test; null: test_fraction is held out"
    )
    colour: str = setting("grey", "channels kept", choices=("grey", "rgb"))
    size: list[int] = setting(
        [], "height, width that every image is resized to; empty: sizes must agree", low=1
    )
    normalize: str = setting(
        "none",
        "mnist centres and scales every image as MNIST was, and needs a size",
        choices=("none", "mnist"),
    )


@dataclass
class TextSettings(FileSettings):
    file: str | None = setting(
        None, "text file, a row of integers an image, blanks or commas between"
    )
    labels: str | None = setting(
        None, "text file of labels, one a line; null: label says which column of the rows"
    )
    label: str = setting(
        "first", "label column when there is no file of labels", choices=("first", "last")
    )
    test_file: str | None = setting(None, "the same for the test; null: test_fraction is held out")
    test_labels: str | None = setting(None, "labels of the test file")
    shape: list[int] = setting(
        [], "channels, height, width of an image; empty: one square channel", low=1
    )


DATA: dict[str, type[DataSettings]] = {
    "digits": DigitsSettings,
    "mnist": MnistSettings,
    "idx": IdxSettings,
    "csv": CsvSettings,
    "npz": NpzSettings,
    "images": ImagesSettings,
    "text": TextSettings,
}

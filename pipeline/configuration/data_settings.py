"""What ``data=`` can be: one dataclass per source, shared fields first."""

from dataclasses import dataclass
from typing import ClassVar

from cnn_core.field_checks import setting
from cnn_core.spec import SplitSpec


@dataclass(frozen=True, kw_only=True)
class SourceName:
    name: str = setting("digits", "where the images come from")


@dataclass(frozen=True, kw_only=True)
class DataSettings(SplitSpec, SourceName):
    """Fields of every source. `module` is the module of `pipeline.data` that reads it."""

    module: ClassVar[str]
    valid_images: str = setting(
        "clean",
        "validate on images as they are, or on disturbed copies (the contest proxy)",
        choices=("clean", "proxy"),
    )
    duplicates: str = setting(
        "ignore",
        "pictures that occur twice: group keeps them on one side of every split, report only says "
        "so, ignore does not look",
        choices=("report", "group", "ignore"),
    )


@dataclass(frozen=True, kw_only=True)
class HeldOutSettings(DataSettings):
    """Sources without a test set of their own: a fixed, stratified share is set aside before
    anything else.
    """

    test_fraction: float = setting(
        0.1, "share set aside for the one final test; 0: none", low=0, below=1
    )
    test_seed: int = setting(0, "of that share", low=0)


@dataclass(frozen=True, kw_only=True)
class DigitsSettings(HeldOutSettings):
    """scikit-learn's 1,797 real 8x8 digits, always there."""

    module = "digits"


@dataclass(frozen=True, kw_only=True)
class PublishedSettings(DataSettings):
    """Published sets: found or downloaded, verified by digest."""

    root: str | None = setting(
        None,
        "folder of the set's files; null: $CNN_DATA_DIR/<the set's>, the user's cache, or a "
        "download",
    )
    download: bool = setting(True, "whether files that are not found may be downloaded")


@dataclass(frozen=True, kw_only=True)
class IdxSetSettings(PublishedSettings):
    """MNIST and its family, four IDX files each."""

    module = "idx_sets"


@dataclass(frozen=True, kw_only=True)
class Cifar10Settings(PublishedSettings):
    """The 60,000 colour pictures of CIFAR-10."""

    module = "cifar10"


@dataclass(frozen=True, kw_only=True)
class FileSettings(HeldOutSettings):
    """Sources read from the user's own files."""

    module = "labelled_files"
    root: str | None = setting(
        None,
        "folder that relative paths start from; null: $CNN_DATA_DIR/<data>, or the working "
        "directory",
    )
    classes: int | None = setting(
        None, "number of classes; null: the largest label plus one", low=2, high=1000
    )
    duplicates: str = setting(
        "group",
        "pictures that occur twice: group keeps them on one side of every split, report only says "
        "so, ignore does not look",
        choices=("report", "group", "ignore"),
    )


@dataclass(frozen=True, kw_only=True)
class IdxSettings(FileSettings):
    images: str | None = setting(None, "IDX file of images, also .gz")
    labels: str | None = setting(None, "IDX file of labels, also .gz")
    test_images: str | None = setting(
        None, "IDX file of test images; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "IDX file of test labels")


@dataclass(frozen=True, kw_only=True)
class CsvSettings(FileSettings):
    file: str | None = setting(None, "CSV file, a row an image: a label and its pixels")
    test_file: str | None = setting(
        None, "labelled CSV of test images; null: test_fraction is held out"
    )
    label: str = setting("auto", "label column: auto, first, last, or its name in the header")
    shape: list[int] = setting(
        [], "channels, height, width of an image; empty: one square channel", low=1
    )


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class ImagesSettings(FileSettings):
    module = "images"
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


@dataclass(frozen=True, kw_only=True)
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
    "mnist": IdxSetSettings,
    "fashion_mnist": IdxSetSettings,
    "emnist_letters": IdxSetSettings,
    "cifar10": Cifar10Settings,
    "idx": IdxSettings,
    "csv": CsvSettings,
    "npz": NpzSettings,
    "images": ImagesSettings,
    "text": TextSettings,
}

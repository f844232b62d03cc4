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
    """Sources read from the user's own files: what a file is, its content says, whatever the group
    is called.
    """

    module = "own_files"
    # Settings that name the images, and their labels where those are in a file of their own; of
    # the training data and of the test.
    places: ClassVar[tuple[str, str]]
    test_places: ClassVar[tuple[str, str]]
    root: str | None = setting(
        None,
        "folder that relative paths start from; null: $CNN_DATA_DIR/<data>, or the working "
        "directory",
    )
    classes: int | None = setting(
        None,
        "number of classes, for labels from 0; null: the labels that occur, whatever they are",
        low=2,
        high=1000,
    )
    label: str = setting(
        "auto", "label column of a table: auto, first, last, none, or its name in the header"
    )
    id: str = setting(
        "auto", "id column of a table: auto, none, first, last, or its name in the header"
    )
    only: str | None = setting(
        None,
        "table whose ids name the training pictures of a folder; null: all that are there",
    )
    shape: list[int] = setting(
        [], "channels, height, width of a row's image; empty: one square image", low=1
    )
    colour: str = setting(
        "auto",
        "channels kept; auto: colour where a picture shows any",
        choices=("auto", "grey", "rgb"),
    )
    size: list[int] = setting(
        [], "height, width that every image is resampled to; empty: sizes must agree", low=1
    )
    normalize: str = setting(
        "none",
        "mnist centres and scales every grey figure as MNIST was",
        choices=("none", "mnist"),
    )
    polarity: str = setting(
        "keep",
        "light_on_dark inverts grey pictures if most have a light background",
        choices=("keep", "light_on_dark"),
    )
    images_key: str = setting("auto", "in an archive of arrays: the name of the images")
    labels_key: str = setting("auto", "in an archive of arrays: the name of the labels")
    duplicates: str = setting(
        "group",
        "pictures that occur twice: group keeps them on one side of every split, report only says "
        "so, ignore does not look",
        choices=("report", "group", "ignore"),
    )
    on_damaged: str = setting(
        "refuse", "pictures that cannot be read: refuse, or skip them", choices=("refuse", "skip")
    )

    @property
    def has_test(self) -> bool:
        """Tell whether test images are given."""
        return bool(getattr(self, self.test_places[0]))

    @property
    def array_names(self) -> tuple[str, ...]:
        """Return the names of arrays of images and labels, in training and in the test, by which an
        archive of arrays is read.
        """
        return (self.images_key, self.labels_key) * 2


@dataclass(frozen=True, kw_only=True)
class IdxSettings(FileSettings):
    """Images and labels in two files of any form."""

    places = ("images", "labels")
    test_places = ("test_images", "test_labels")
    images: str | None = setting(None, "file or folder of images")
    labels: str | None = setting(None, "file of labels; null: beside or within the images")
    test_images: str | None = setting(
        None, "file or folder of test images; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "file of test labels")


@dataclass(frozen=True, kw_only=True)
class FilesSettings(IdxSettings):
    """The same by another name: any files."""


@dataclass(frozen=True, kw_only=True)
class CsvSettings(FileSettings):
    """A table, a row an image."""

    places = ("file", "labels")
    test_places = ("test_file", "test_labels")
    file: str | None = setting(None, "table, a row an image: its pixels, a label, an id")
    labels: str | None = setting(None, "file of labels, or of ids and labels; null: a column")
    test_file: str | None = setting(
        None, "labelled table of test images; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "file of the test labels; null: a column")


@dataclass(frozen=True, kw_only=True)
class TextSettings(CsvSettings):
    """The same by another name: rows of numbers with blanks between."""


@dataclass(frozen=True, kw_only=True)
class NpzSettings(FileSettings):
    """An archive of arrays."""

    places = ("file", "labels_file")
    file: str | None = setting(None, "arrays of images and labels: .npz, .npy, .mat; no pickles")
    images: str = setting(
        "auto", "name of the array of images: (N, H, W), (N, C, H, W) or (N, H, W, C)"
    )
    labels: str = setting("auto", "name of the array of labels: (N,)")
    labels_file: str | None = setting(None, "another file that holds the labels")
    test_file: str | None = setting(None, "file of the test arrays; null: file holds them")
    test_images: str | None = setting(
        None, "name of the array of test images; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "name of the array of test labels")
    test_labels_file: str | None = setting(None, "another file that holds the test labels")

    @property
    def test_places(self) -> tuple[str, str]:  # type: ignore[override]
        """Return where the test's arrays are: in a file of their own, or beside the others."""
        return "test_file" if self.test_file else "file", "test_labels_file"

    @property
    def has_test(self) -> bool:
        return bool(self.test_images or self.test_file)

    @property
    def array_names(self) -> tuple[str, ...]:
        test = self.test_images or "auto", self.test_labels or "auto"
        return self.images, self.labels, *test


@dataclass(frozen=True, kw_only=True)
class ImagesSettings(FileSettings):
    """A folder of pictures: one folder a class, or with a table of ids and labels."""

    places = ("folder", "labels")
    test_places = ("test_folder", "test_labels")
    folder: str | None = setting(None, "folder of pictures, or of one folder of pictures a class")
    labels: str | None = setting(
        None, "table of ids and labels of the pictures; null: one folder a class"
    )
    test_folder: str | None = setting(
        None, "the same for the test; null: test_fraction is held out"
    )
    test_labels: str | None = setting(None, "table of the test pictures' ids and labels")


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
    "files": FilesSettings,
}

"""Files of an annotated image: the image itself, its ground truth, field of view and second annotation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

LEFTOVERS = ("@eadir", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "#recycle", "lost+found")
Place = TypeVar("Place")
Other = TypeVar("Other")


@dataclass(frozen=True)
class ImageFiles(Generic[Place]):
    """Where the files of an annotated image are; None where there is no field of view or second annotation."""

    image: Place
    truth: Place
    fov: Place | None = None
    second_observer: Place | None = None

    def present(self) -> list[Place]:
        """Return all files that are not None."""
        optional = (file for file in (self.fov, self.second_observer) if file is not None)
        return [self.image, self.truth, *optional]

    def map(self, function: Callable[[Place], Other]) -> "ImageFiles[Other]":
        """Apply a function to each file."""
        return ImageFiles(
            function(self.image),
            function(self.truth),
            None if self.fov is None else function(self.fov),
            None if self.second_observer is None else function(self.second_observer),
        )


def is_leftover(name: str) -> bool:
    """Return whether a file or folder is hidden, or left by a system: thumbnails, caches, recycle bins."""
    return name.startswith(".") or name.lower() in LEFTOVERS

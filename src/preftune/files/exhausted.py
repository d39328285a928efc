"""Errors that mean that the machine has run out of something: disk, memory, threads or open files."""

import errno
from collections.abc import Iterator, Mapping
from typing import Literal

Resource = Literal["disk", "memory", "files"]
"""Resource that a machine has run out of."""

_ERRNOS: Mapping[int, Resource] = {
    errno.ENOSPC: "disk",
    errno.EDQUOT: "disk",
    errno.EFBIG: "disk",
    errno.ENOMEM: "memory",
    errno.EMFILE: "files",
    errno.ENFILE: "files",
}
_TEXTS: Mapping[str, Resource] = {
    "No space left": "disk",
    "Disk quota exceeded": "disk",
    "os error 28)": "disk",
    "os error 122)": "disk",
    "os error 27)": "disk",
    "PytorchStreamWriter": "disk",
    "iostream error": "disk",
    "database or disk is full": "disk",
    "can't allocate memory": "memory",
    "Cannot allocate memory": "memory",
    "std::bad_alloc": "memory",
    "can't start new thread": "memory",
    "Too many open files": "files",
}
"""Texts of libraries that raise errors without a number."""


def exhausted(error: BaseException) -> Resource | None:
    """The resource whose lack an error, or one of its causes, means; None for other errors.

    >>> exhausted(OSError(errno.ENOSPC, "No space left on device")), exhausted(MemoryError()), exhausted(KeyError("a"))
    ('disk', 'memory', None)
    >>> exhausted(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    'memory'
    >>> exhausted(RuntimeError("basic_ios::clear: iostream error"))  # torch.save on a full disk
    'disk'
    """
    return next((found for item in _chain(error) if (found := _of_one(item)) is not None), None)


def _of_one(error: BaseException) -> Resource | None:
    if isinstance(error, OSError) and error.errno is not None and error.errno in _ERRNOS:
        return _ERRNOS[error.errno]
    # PyTorch's error of a full GPU, without importing PyTorch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    message = str(error) if isinstance(error, Exception) else ""
    return next((resource for text, resource in _TEXTS.items() if text in message), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__

"""Writing models so that what was good stays good: on a full disk, a kill, or Ctrl-C."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from transformers import Trainer

from preftune.errors import PreftuneError, SaveError
from preftune.runs.run_folder import RunFolder

__all__ = ["guarded_saves", "save_model"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXTS = (
    "No space left",
    "os error 28",
    "os error 122",
    "os error 27",
    "PytorchStreamWriter",
    "inline_container.cc",
)
"""What safetensors (Rust) and torch.save (C++) say of a full disk; they give no errno."""


@contextmanager
def guarded_saves(folder: RunFolder) -> Iterator[None]:
    """Whatever ends the run, torn checkpoints are removed and whole ones stay.

    Raises:
        SaveError: the disk is full.
    """
    try:
        yield
    except BaseException as error:
        folder.remove_torn_checkpoints()
        if isinstance(error, PreftuneError) or not _is_full_disk(error):
            raise
        last = folder.last_checkpoint()
        good = f"The last good checkpoint is {last}." if last else "No checkpoint was complete."
        raise SaveError(
            f"{folder.path}: the disk is full, so the model could not be saved. {good} Free some space and go on "
            "with --resume."
        ) from error


def save_model(trainer: Trainer, folder: RunFolder) -> None:
    """Write model and tokenizer into the run folder: beside it first, then file by file in place."""
    partial = folder.path / ".model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        trainer.save_model(str(partial))
        if trainer.is_world_process_zero():
            for file in sorted(partial.iterdir()):
                file.replace(folder.path / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_full_disk(error: BaseException) -> bool:
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in _FULL:
            return True
        if isinstance(chain, (OSError, SafetensorError, RuntimeError)) and any(
            text in str(chain) for text in _FULL_TEXTS
        ):
            return True
        chain = chain.__cause__ or chain.__context__
    return False

"""Files of a saved model: no pickle of the trainer's arguments, no blank model card, readable weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.trainer import TRAINING_ARGS_NAME

from preftune.files.json_files import write_whole
from preftune.files.outputs import give_usual_mode
from preftune.files.run_files import CARD


@contextmanager
def saving_model(folder: Path, *, keeps_arguments: bool = False) -> Iterator[None]:
    """Correct what transformers, peft and safetensors leave in a folder that a model is saved into.

    The trainer's arguments are a pickle that resuming does not read; `keeps_arguments` leaves them. The card of peft is
    a blank form, or an edited copy of the card that was there, which is put back. Weights get the mode of new files.
    """
    card = folder / CARD
    before = card.read_bytes() if card.is_file() else None
    yield
    if not keeps_arguments:
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
    if before is not None:
        write_whole(card, before)
    else:
        card.unlink(missing_ok=True)
    for weights in folder.glob("*.safetensors"):
        give_usual_mode(weights)

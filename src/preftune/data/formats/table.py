"""The formats that rows can have, and which one a set of columns is."""

from collections.abc import Collection

from preftune.data.formats.comparisons import read_alpaca_eval, read_comparison, read_shp, read_summaries
from preftune.data.formats.demonstrations import read_demonstration, read_review, read_thumb
from preftune.data.formats.format import Format, each_row
from preftune.data.formats.lists import read_list, read_nectar, read_stack_exchange, read_ultrafeedback
from preftune.data.formats.llama_factory import read_alpaca, read_sharegpt
from preftune.data.formats.message_trees import read_message_rows, read_message_trees
from preftune.data.formats.pairs import read_orca, read_pair, read_transcripts
from preftune.errors import DataError

__all__ = ["FORMATS", "find_format", "recognise"]


_PAIR = (
    "margin",
    "score_chosen",
    "score_rejected",
    "chosen_score",
    "rejected_score",
    "chosen_weights",
    "rejected_weights",
)
_PAIR_EXTRA = ("chosen_{}", "rejected_{}")

# The first that fits is taken, so the more specific stands first.
FORMATS: tuple[Format, ...] = (
    Format(
        "pairs",
        "a prompt, a better and a worse completion",
        (("prompt", "chosen", "rejected"),),
        each_row(read_pair),
        _PAIR,
        _PAIR_EXTRA,
    ),
    Format(
        "lists",
        "a prompt, completions, and the score or the rank of each",
        (("prompt", "completions", "scores"), ("prompt", "completions", "ranks")),
        each_row(read_list),
        ("weights",),
        ("{}",),
    ),
    Format(
        "thumbs",
        "a prompt, a completion, and whether it is good",
        (("prompt", "completion", "label"),),
        each_row(read_thumb),
        ("weights",),
    ),
    Format(
        "comparisons",
        "a prompt, two completions, and which is better, by how much",
        (("prompt", "completion_1", "completion_2", "preference"),),
        each_row(read_comparison),
        ("margin",),
    ),
    Format(
        "ultrafeedback",
        "UltraFeedback: an instruction and completions, each an object with its scores",
        (("instruction", "completions"),),
        each_row(read_ultrafeedback),
    ),
    Format(
        "nectar",
        "Nectar: a prompt and answers, each an object with its rank",
        (("prompt", "answers"),),
        each_row(read_nectar),
    ),
    Format(
        "summaries",
        "TL;DR: a post, two summaries of it, and the index of the better one",
        (("info", "summaries", "choice"),),
        each_row(read_summaries),
    ),
    Format(
        "shp",
        "SHP: a post, two comments, and which has more votes",
        (("history", "human_ref_A", "human_ref_B", "labels"),),
        each_row(read_shp),
        ("score_A", "score_B"),
    ),
    Format(
        "stack_exchange",
        "StackExchange: a question and answers, each an object with its score",
        (("question", "answers"),),
        each_row(read_stack_exchange),
    ),
    Format(
        "orca",
        "Orca pairs: a system prompt, a question, a better and a worse answer",
        (("question", "chosen", "rejected"),),
        each_row(read_orca),
        ("system", *_PAIR),
        _PAIR_EXTRA,
    ),
    Format(
        "alpaca_eval",
        "AlpacaEval: an instruction, two outputs, and which is better, by how much",
        (("instruction", "output_1", "output_2", "preference"),),
        each_row(read_alpaca_eval),
        ("margin",),
    ),
    Format(
        "alpaca",
        "Alpaca: an instruction with an input, and an output, or a better and a worse one",
        (("instruction", "chosen", "rejected"), ("instruction", "output")),
        each_row(read_alpaca),
        ("input", "system", "history", *_PAIR),
        _PAIR_EXTRA,
    ),
    Format(
        "message_trees",
        "OpenAssistant: a tree of messages, the answers to each ranked",
        (("message_tree_id", "prompt"),),
        read_message_trees,
    ),
    Format(
        "message_rows",
        "OpenAssistant: a message of such a tree",
        (("message_id", "parent_id", "role", "text"),),
        read_message_rows,
        ("message_tree_id", "rank", "deleted"),
    ),
    Format(
        "sharegpt",
        "ShareGPT: a conversation, perhaps with a better and a worse answer",
        (("conversations", "chosen", "rejected"), ("conversations",)),
        each_row(read_sharegpt),
        ("system", *_PAIR),
        _PAIR_EXTRA,
    ),
    Format(
        "transcripts",
        "HH: two whole conversations with the same start, the better and the worse",
        (("chosen", "rejected"),),
        each_row(read_transcripts),
        _PAIR,
        _PAIR_EXTRA,
    ),
    Format(
        "demonstrations",
        "a prompt and a completion, or a whole conversation, to imitate",
        (("prompt", "completion"), ("messages",)),
        each_row(read_demonstration),
    ),
    Format(
        "reviews",
        "IMDB: a text, whose first words are the prompt, and whether it is positive",
        (("text", "label"),),
        each_row(read_review),
    ),
)


def recognise(columns: Collection[str], *, source: str = "rows") -> Format:
    """The format that has these columns; the most specific where several fit.

    Args:
        columns: Names of the columns.
        source: Where they are from, for the error.
    Raises:
        DataError: no format fits.

    >>> recognise(["chosen", "rejected", "id"]).name
    'transcripts'
    """
    for candidate in FORMATS:
        if candidate.fits(columns):
            return candidate
    raise DataError(
        f"{source}: no format has these columns: {_listed(columns)}. The formats are:\n"
        + "\n".join(f"  - {candidate}" for candidate in FORMATS)
        + "\nMap your columns to these names, for example --columns chosen=better,rejected=worse. `preftune formats` "
        "tells what each holds."
    )


def find_format(name: str, columns: Collection[str], *, source: str = "rows") -> Format:
    """The format of a name, which must fit the columns.

    Args:
        name: One of the names in `FORMATS`.
        columns: Names of the columns.
        source: Where they are from, for the error.
    Raises:
        DataError: there is no such format, or a column that it needs is not there.
    """
    found = next((candidate for candidate in FORMATS if candidate.name == name), None)
    if found is None:
        known = ", ".join(candidate.name for candidate in FORMATS)
        raise DataError(f"there is no format '{name}'. The formats are: {known}. Name one of them with --format.")
    if not found.fits(columns):
        raise DataError(
            f"{source}: the format {found}. The columns are: {_listed(columns)}. "
            "Map your columns to these names, for example --columns chosen=better,rejected=worse."
        )
    return found


def _listed(columns: Collection[str]) -> str:
    return ", ".join(columns) if columns else "none"

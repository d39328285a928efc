"""Two processes make a table of reference log-probs together; each writes down what it did."""

import json
from pathlib import Path

import torch

from preftune.errors import ModelError
from tests.builders import tiny_llama, token_groups
from tests.model.reference.test_reference_pass import Counted, run
from tests.two_ranks import run_as_rank


def make_table(rank: int, folder: Path) -> None:
    """Thirteen groups: the ranks get uneven shares."""
    torch.manual_seed(0)
    model, groups, path = tiny_llama(), token_groups(13), folder / "logps.sqlite"
    first, second = Counted(), Counted()
    table = run(model, groups, path, first, max_tokens=60).reference.table
    run(model, groups, path, second)
    tokens = run(model, groups, path, Counted(), per_token=True).reference.token_table
    assert tokens is not None
    torch.manual_seed(rank)
    try:
        run(tiny_llama(), groups, path, second)
        error = ""
    except ModelError as caught:
        error = str(caught)
    found = {
        "first": first.calls,
        "second": second.calls,
        "table": {key.hex(): value for key, value in table.items()},
        "token_table": {key.hex(): values.tolist() for key, values in tokens.items()},
        "error": error,
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    run_as_rank(make_table)

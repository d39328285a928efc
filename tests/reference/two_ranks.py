"""Two processes make a table of reference log-probs together; each writes down what it did."""

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from preftune.errors import ModelError
from tests.builders import tiny_llama, token_groups
from tests.reference.test_reference_pass import Counted, run


def main(folder: Path) -> None:
    """Thirteen groups: the ranks get uneven shares."""
    rank = PartialState(cpu=True).process_index
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, groups, path = tiny_llama(), token_groups(13), folder / "logps.sqlite"
    first, second = Counted(), Counted()
    table = run(model, groups, path, first, max_tokens=60).reference.table
    run(model, groups, path, second)
    torch.manual_seed(rank)
    try:
        run(tiny_llama(), groups, path, second)
        error = ""
    except ModelError as caught:
        error = str(caught)
    found = {key.hex(): value for key, value in table.items()}
    (folder / f"rank{rank}.json").write_text(
        json.dumps({"first": first.calls, "second": second.calls, "table": found, "error": error})
    )
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""`python -m studies.enumerable`: train every method of the table in the small world, print the page."""

import argparse
import sys
from collections.abc import Iterator

from rich.console import Console

from preftune.losses import LOSSES
from studies.enumerable.compare import Outcome, method_in, outcomes
from studies.enumerable.page import page
from studies.enumerable.world import World

__all__ = ["main"]


def main() -> None:
    """Write the page to the standard output, and progress to the error output."""
    argparse.ArgumentParser(prog="python -m studies.enumerable", description=__doc__).parse_args()
    world = World.drawn()
    sys.stdout.write(page(world, _all_outcomes(world, Console(stderr=True))))


def _all_outcomes(world: World, console: Console) -> Iterator[Outcome]:
    for name in LOSSES:
        for outcome in outcomes(method_in(world, name), world):
            console.print(f"{outcome.method}, {outcome.feedback}: {outcome.end}", highlight=False)
            yield outcome


if __name__ == "__main__":
    main()

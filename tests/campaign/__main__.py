"""`python -m tests.campaign`: a campaign for some seconds, or one of its trials again."""

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

from rich.console import Console  # after the limits of threads

from tests.campaign.kinds import KINDS
from tests.campaign.runner import Campaign
from tests.campaign.warm import warm

__all__ = ["main"]


def main() -> int:
    """Run the campaign that the command line describes. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200, help="time, in seconds")
    parser.add_argument("--seed", type=int, help="seed of all choices; default: a new one")
    parser.add_argument("--only", help="kinds, separated by commas")
    parser.add_argument("--trial", help="one trial, such as kills/17, instead of a campaign")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    given = parser.parse_args()
    console = Console(width=120 if not sys.stdout.isatty() else None)
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    names = set(KINDS) if given.only is None else set(given.only.split(","))
    if given.trial is not None:
        names = {given.trial.partition("/")[0]}
    if unknown := names - set(KINDS):
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    console.print(f"campaign of seed {seed} in {folder}", highlight=False)
    warm()
    campaign = Campaign([kind for name, kind in KINDS.items() if name in names], seed, folder, console, given.jobs)
    if given.trial is not None:
        campaign.run_one(campaign.kinds[0], int(given.trial.partition("/")[2]))
    else:
        campaign.run(given.seconds)
    console.print(campaign.table())
    if campaign.failures:
        console.print(
            f"{len(campaign.failures)} failures; their folders are in {folder}. Seed {seed}.", highlight=False
        )
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    console.print(f"nothing lost, no traceback, no silent deviation. Seed {seed}.", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

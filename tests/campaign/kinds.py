"""The one table of the kinds of trials."""

from collections.abc import Mapping

from tests.campaign.damage import DAMAGE
from tests.campaign.kills import KILLS
from tests.campaign.trial import Kind

__all__ = ["KINDS"]

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (KILLS, DAMAGE)}
"""By name, in the order of the table."""

"""The one table of the kinds of trials."""

from collections.abc import Mapping

from tests.campaign.damage import DAMAGE
from tests.campaign.endpoints import ENDPOINTS
from tests.campaign.kills import KILLS
from tests.campaign.limits import LIMITS
from tests.campaign.mutation import CONFIGS, DATA
from tests.campaign.odd_settings import ODD_SETTINGS
from tests.campaign.ranks import DELAYED_RANKS, KILLED_RANKS
from tests.campaign.trial import Kind

__all__ = ["KINDS"]

_KINDS = (KILLS, DAMAGE, LIMITS, ENDPOINTS, DATA, CONFIGS, ODD_SETTINGS, DELAYED_RANKS, KILLED_RANKS)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
"""By name, in the order of the table."""

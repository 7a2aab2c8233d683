"""What a fill on paper pays beside the quote, by the kind of share."""

from __future__ import annotations

from shared.instruments import Instrument

NIFTY50_BPS, DERIVATIVES_BPS, OTHER_BPS = 3, 6, 30
# NIFTY 500 names would pay 12, but the instrument table does not know them: the dearer class is honest.


def slippage_bps(instrument: Instrument) -> int:
    """Return half spread and slippage of a fill on paper, 1/100 of a percent."""
    if instrument.nifty50:
        return NIFTY50_BPS
    return DERIVATIVES_BPS if instrument.derivatives else OTHER_BPS

"""Looked at last: every answer that any check of this suite saw carried one X-Barium, made for it alone."""

from harness import check, equal, holds
from server import BARIUMS, UUID4


@check("every answer carries an id of its own")
def _(setting):
    holds(BARIUMS, "no answer was seen")
    equal([(asked, values) for asked, values in BARIUMS if len(values) != 1 or not UUID4.fullmatch(values[0])][:10], [])
    ids = [values[0] for _, values in BARIUMS]
    equal(len(ids) - len(set(ids)), 0, "ids that were given twice")

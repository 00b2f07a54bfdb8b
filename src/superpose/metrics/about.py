"""What a list of metrics says of each, beside what the metric itself declares."""

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    r"""A metric in words: its row in :doc:`/metrics`, and its name in figures, reports and sentences.

    Attributes
    ----------
    title : str
        Its name in figures, where ``$r$`` is mathematics; sentences leave the dollar signs out.
    compares : str
        What of the two systems is compared.
    cost : str
        Operations by samples N and units p, q.
    source : str
        Authors and year, or a theorem of the paper.

    Examples
    --------
    >>> from superpose.metrics import CKA
    >>> CKA.about.title, CKA.about.cost
    ('CKA', 'N p q')
    """

    title: str
    compares: str
    cost: str
    source: str

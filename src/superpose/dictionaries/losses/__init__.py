"""What a dictionary is trained for: functions of modules and activity, one value per repeat.

Squared errors of activity are means over samples and units of standardised activity, so that each is a fraction of
variance, and systems of different widths weigh alike.
"""

from superpose.dictionaries.losses.auxiliary import AUXILIARY_WEIGHT, DEAD_AFTER, REVIVED, auxiliary
from superpose.dictionaries.losses.crosscoder import shared_code
from superpose.dictionaries.losses.joint import MODES, SCORABLE_MODES, joint
from superpose.dictionaries.losses.matryoshka import matryoshka
from superpose.dictionaries.losses.reconstruction import reconstruction
from superpose.dictionaries.losses.supervised import supervised
from superpose.dictionaries.losses.terms import on_activity

__all__ = [
    "AUXILIARY_WEIGHT",
    "DEAD_AFTER",
    "MODES",
    "REVIVED",
    "SCORABLE_MODES",
    "auxiliary",
    "joint",
    "matryoshka",
    "on_activity",
    "reconstruction",
    "shared_code",
    "supervised",
]

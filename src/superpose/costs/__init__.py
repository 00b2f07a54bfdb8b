"""What a comparison will cost, before it starts: operations, bytes read, memory and time on this machine."""

from superpose.costs.prediction import Costs, predict
from superpose.costs.sizes import Size
from superpose.costs.steps import Steps, race

__all__ = ["Costs", "Size", "Steps", "predict", "race"]

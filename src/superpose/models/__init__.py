"""What the layers of a model do on images, sentences or arrays, as arrays of (rows, units).

Torch modules are recorded by forward hooks, ONNX graphs by added outputs; both into a store that resumes.
"""

from superpose.models.activations import Activations, activations
from superpose.models.inputs import Source
from superpose.models.layers import KINDS, layer_names
from superpose.models.onnx import layer_norms
from superpose.models.padding import text_limit
from superpose.models.parts import INSTALL
from superpose.models.pictures import PREPARATIONS, Images, Preparation, images, preparation
from superpose.models.pretrained import pretrained
from superpose.models.text import token_spans, tokenize
from superpose.models.tokens import row_positions

__all__ = [
    "INSTALL",
    "KINDS",
    "PREPARATIONS",
    "Activations",
    "Images",
    "Preparation",
    "Source",
    "activations",
    "images",
    "layer_names",
    "layer_norms",
    "preparation",
    "pretrained",
    "row_positions",
    "text_limit",
    "token_spans",
    "tokenize",
]

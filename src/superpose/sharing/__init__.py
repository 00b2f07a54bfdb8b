"""Which features two systems share: features of each, and what the other holds of them."""

from superpose.sharing.content import Content, content
from superpose.sharing.decoder import Decoder, decoder
from superpose.sharing.decoding import Decoded, Side, decode, side
from superpose.sharing.features import Features, TooFew, features
from superpose.sharing.unit_picture import unit_picture
from superpose.sharing.units import Population, cka_units, unit_curve

__all__ = [
    "Content",
    "Decoded",
    "Decoder",
    "Features",
    "Population",
    "Side",
    "TooFew",
    "cka_units",
    "content",
    "decode",
    "decoder",
    "features",
    "side",
    "unit_curve",
    "unit_picture",
]

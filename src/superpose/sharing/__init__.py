"""Which features two systems share: features of each, and what the other holds of them."""

from superpose.sharing.content import Content, content
from superpose.sharing.decoder import Decoder, decoder
from superpose.sharing.decoding import Decoded, Side, decode, side
from superpose.sharing.features import Features, TooFew, features

__all__ = [
    "Content",
    "Decoded",
    "Decoder",
    "Features",
    "Side",
    "TooFew",
    "content",
    "decode",
    "decoder",
    "features",
    "side",
]

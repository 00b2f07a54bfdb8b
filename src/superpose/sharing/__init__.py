"""Which features two systems share: features of each, and what the other holds of them."""

from superpose.sharing.decoder import Decoder, decoder
from superpose.sharing.decoding import Decoded, Side, decode, side
from superpose.sharing.features import Features, features

__all__ = ["Decoded", "Decoder", "Features", "Side", "decode", "decoder", "features", "side"]

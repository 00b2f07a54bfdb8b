"""Are two neural systems alike in what they represent, or only in how they pack it?"""

import lazy_loader as _lazy

from superpose.messages.moves import install as _install

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
__version__ = "0.1.0"
_install()

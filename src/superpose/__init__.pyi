__version__: str

from . import arrays as arrays
from . import diagnostics as diagnostics
from . import losses as losses
from . import metrics as metrics
from . import systems as systems
from . import theory as theory
from .analysis import Analysis as Analysis
from .analysis import analyse as analyse
from .comparison import compare as compare
from .files import DataError as DataError
from .metrics import cca as cca
from .metrics import cka as cka
from .metrics import procrustes as procrustes
from .metrics import regression as regression
from .metrics import rsa as rsa
from .models import activations as activations
from .recordings import Recording as Recording
from .recordings import match as match
from .recordings import read as read
from .sae import SparseAutoencoder as SparseAutoencoder
from .sae import load as load
from .sae import save as save
from .sparsity import TopK as TopK
from .training import fit as fit

"""The Deep Learning Computation chapter of Dive into Deep Learning, to import and to poke."""

from .blocks import MLP as MLP
from .blocks import FancyMLP as FancyMLP
from .blocks import FixedHiddenMLP as FixedHiddenMLP
from .blocks import MySequential as MySequential
from .blocks import NestMLP as NestMLP
from .blocks import dense as dense
from .blocks import mlp as mlp
from .layers import CenteredLayer as CenteredLayer
from .layers import MyDense as MyDense
from .layers import MyLinear as MyLinear

"""Section 3, initializers: where the first values of parameters come from.

>>> from d2lcompute import initializers as init
>>> net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))
>>> report = d2c.initialize(net, init.Normal(0.01))

Each leaves its arithmetic to `torch.nn.init`.
"""

from .base import Initializer as Initializer
from .builtin import Constant as Constant
from .builtin import Kaiming as Kaiming
from .builtin import Normal as Normal
from .builtin import One as One
from .builtin import Orthogonal as Orthogonal
from .builtin import Uniform as Uniform
from .builtin import Xavier as Xavier
from .builtin import Zero as Zero
from .rules import Mixed as Mixed
from .visitors import init_42 as init_42
from .visitors import init_constant as init_constant
from .visitors import init_normal as init_normal
from .visitors import init_xavier as init_xavier
from .visitors import my_init as my_init

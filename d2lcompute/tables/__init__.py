"""What every report is made of: a table as text, as HTML and as data."""

from .table import Named as Named
from .table import Report as Report
from .table import Rows as Rows
from .table import Shown as Shown
from .table import Table as Table
from .table import display_width as display_width
from .table import listed as listed
from .table import printable as printable
from .table import size_text as size_text

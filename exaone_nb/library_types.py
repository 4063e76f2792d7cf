"""Types of heavy libraries, for annotations. The libraries themselves are imported where a function needs them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from pandas import DataFrame
    from rich.console import Console
    from rich.table import Table as RichTable
    from torch import Tensor, device, dtype
else:
    Axes = Figure = Patch = DataFrame = Console = RichTable = Tensor = device = dtype = Any

"""The registry of engines: the methods of the stage `generate`. The one place that names them.

To add an engine, write a module with a `worker.contract.Engine` and add one line here.
"""

from worker.contract import Engine
from worker.fashn_vton.engine import FashnVtonEngine
from worker.geometric.engine import GeometricEngine
from worker.viton_hd.engine import VitonHdEngine

ENGINES: tuple[Engine, ...] = (
    FashnVtonEngine(),
    VitonHdEngine(),
    GeometricEngine(),
)
"""In the order in which `engine="auto"` prefers them: the first that is available draws the picture."""

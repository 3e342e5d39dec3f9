"""Model files of any geometry and quantization with random weights: for tests and rehearsals.

They load and answer like real models of their size, and say nothing sensible. Nothing here runs
a model or knows what it is measured for.
"""

from modelrouter.synthetic.geometry import SMALL, TINY, Geometry
from modelrouter.synthetic.published import GEOMETRIES, geometry_named
from modelrouter.synthetic.quantization import QUANTIZATIONS
from modelrouter.synthetic.writer import planned_bytes, write, write_hollow

__all__ = [
    "GEOMETRIES",
    "QUANTIZATIONS",
    "SMALL",
    "TINY",
    "Geometry",
    "geometry_named",
    "planned_bytes",
    "write",
    "write_hollow",
]

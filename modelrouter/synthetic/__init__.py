"""Model files of any geometry and quantization with random weights: for tests and rehearsals.

They load and answer like real models of their size, and say nothing sensible. Nothing here runs
a model or knows what it is measured for.
"""

from modelrouter.synthetic.geometry import GEOMETRIES, SMALL, TINY, Geometry
from modelrouter.synthetic.quantization import QUANTIZATIONS
from modelrouter.synthetic.writer import planned_bytes, write

__all__ = ["GEOMETRIES", "QUANTIZATIONS", "SMALL", "TINY", "Geometry", "planned_bytes", "write"]

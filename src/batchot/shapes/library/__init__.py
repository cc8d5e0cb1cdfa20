"""A built-in library of man-made shapes, made up from a seed: what the demo and the tests run on.

Example:
    >>> from batchot.shapes.library import CLASS_NAMES, generate_shape
    >>> len(CLASS_NAMES) >= 16
    True
    >>> generate_shape("table", seed=1).faces.shape[1]
    3
"""

from batchot.shapes.library.generate import CLASS_NAMES, GENERATOR_VERSION, generate_shape, write_library

__all__ = ["CLASS_NAMES", "GENERATOR_VERSION", "generate_shape", "write_library"]

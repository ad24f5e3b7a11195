"""Search spaces from train schemas: JSON in, a typed space out.

    from search_spaces import Overlay, compile_space, load_schema

    overlay = Overlay(ranges={"train.batch_size": (16, 64, None)})
    space = compile_space(load_schema("train.schema.json"), overlay=overlay)
    space.default()                     # the first trial
    space.sample(random.Random(0))      # a random one

The package knows schemas and numbers. It knows no trainer, no sampler and no parameter by name.
"""

from search_spaces.compilation import compile_space
from search_spaces.dimensions import Choice, Dimension, Integer, Real
from search_spaces.errors import PointError, RangeError, SchemaError, SearchSpaceError
from search_spaces.overlay import Overlay
from search_spaces.parameter import Parameter, Pinned
from search_spaces.reading import load_schema
from search_spaces.schema import Leaf, Schema
from search_spaces.space import SearchSpace

__all__ = [
    "Choice",
    "Dimension",
    "Integer",
    "Leaf",
    "Overlay",
    "Parameter",
    "Pinned",
    "PointError",
    "RangeError",
    "Real",
    "Schema",
    "SchemaError",
    "SearchSpace",
    "SearchSpaceError",
    "compile_space",
    "load_schema",
]

from dataclasses import dataclass

from hpo.study.field_docs import field_texts


@dataclass
class Shelf:
    """A class of this test."""

    width: int = 3
    """In metres,
    at the front."""
    colour: str = ""
    depth = 4


def test_texts_stand_below_their_fields():
    assert field_texts(Shelf) == {"width": "In metres, at the front.", "colour": ""}

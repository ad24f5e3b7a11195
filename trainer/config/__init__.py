"""The spec of the trainer as typed, frozen dataclasses: `Spec` is the root.

Every key is declared once, here, with default, bounds and meaning; schemas, templates and checks
follow from it. Light: standard library only.
"""

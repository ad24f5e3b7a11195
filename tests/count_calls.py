"""Counts calls: what work grows with shows in them, and no clock of a busy machine tells it."""

import sys


def count_calls(function, *args, of=(), **more):
    """Calls of Python functions (and resumed generators), or of those named `of`, in a function."""
    names, count = (of,) if isinstance(of, str) else of, 0

    def note(frame, event, _arg):
        nonlocal count
        count += event == "call" and (not names or frame.f_code.co_name in names)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*args, **more)
    finally:
        sys.setprofile(before)
    return count

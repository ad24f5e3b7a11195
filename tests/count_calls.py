"""Counts calls: what work grows with shows in them, and no clock of a busy machine tells it."""

import sys


def count_calls(function, *args, of=None, **more):
    """Calls of Python functions (and resumed generators), or of those named `of`, in a function."""
    count = 0

    def note(frame, event, _arg):
        nonlocal count
        count += event == "call" and of in (None, frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*args, **more)
    finally:
        sys.setprofile(before)
    return count

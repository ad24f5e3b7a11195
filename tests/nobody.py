"""Another user for a while: root may read and write every folder."""

import contextlib
import os


@contextlib.contextmanager
def as_nobody():
    """Root becomes another user; everybody else stays."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def plant_folder(place):
    """What another user may put where a folder of one's own belongs: one of his, or a link to one."""
    if os.geteuid() == 0:
        place.mkdir(mode=0o777)
        os.chown(place, 65534, 65534)
    else:
        aside = place.with_name(f"{place.name}-planted")
        aside.mkdir()
        place.symlink_to(aside)
    return place

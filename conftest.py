"""How all tests run: one thread per process, so that two can share two cores, and notebooks side by side."""

import os
import re
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it on import, in kernels and other children, too
README = Path(__file__).parent / "README.md"


def pytest_configure(config):
    config.option.loadscopereorder = False  # xdist's: keep files in our own order, not by number of tests
    if getattr(config.option, "nbval_lax", False) and os.name == "posix":
        give_kernels_sockets(config)


def give_kernels_sockets(config):
    """Have nbval's kernels listen on sockets in a folder: two that start at once could get the same TCP port."""
    import nbval.kernel

    folder = tempfile.TemporaryDirectory(prefix="kernel")
    config.add_cleanup(folder.cleanup)
    nbval.kernel.KernelManager = partial(nbval.kernel.KernelManager, transport="ipc", ip=f"{folder.name}/socket")


def pytest_collection_modifyitems(items):
    """Longest first: slow tests, and notebooks by the README's table, so that the last one to end is short."""
    times = re.findall(r"\(notebooks/(\w+\.ipynb)\).* \| (?:(\d+) min ?)?(?:(\d+) s )?\| ", README.read_text("utf-8"))
    seconds = {name: 60 * int(minutes or 0) + int(seconds or 0) for name, minutes, seconds in times}
    items.sort(key=lambda item: (-seconds.get(item.path.name, 0), item.get_closest_marker("slow") is None))

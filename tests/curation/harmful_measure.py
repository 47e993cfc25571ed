"""A measurement that comes to harm, as the name of its file says; it runs in a bounded process."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def measure(path: str, *_: Any) -> None:
    """Hang, or die."""
    if "hang" in path:
        time.sleep(60)
    os.kill(os.getpid(), signal.SIGSEGV)

"""A file system of a chosen size."""

import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def disk(folder, kilobytes):
    """Mount a file system of this size at a folder, and yield how to change its size."""
    folder.mkdir(exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

"""Memory that a step frees stays with the process."""

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's")

STEPS = """
import resource
{before}
def step():
    return sum(len(block) for block in [b"x" * (3 << 20) for _ in range(4)])
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 4 * (3 << 20) // 4096
"""Of what a step frees."""


def faults_of_ten_steps(before: str) -> int:
    """In a process of its own: what malloc was told is for good."""
    told = subprocess.run(
        [sys.executable, "-c", STEPS.format(before=before)], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


def test_freed_blocks_are_used_again_without_a_page_fault() -> None:
    kept = faults_of_ten_steps("from trainers.freed import keep_freed_memory; assert keep_freed_memory()")
    assert kept < PAGES / 10


def test_a_pack_keeps_what_its_steps_free() -> None:
    prepare = """
from trainers.engine import prepare
from trainers.trace import PackSettings
prepare(PackSettings(lanes=1, engine="eager", threads=1, segment_steps=1, device="cpu"))
"""
    assert faults_of_ten_steps(prepare) < PAGES / 10

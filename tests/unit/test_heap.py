"""A process that acts for thousands keeps the memory of one part for the next."""

import platform
import subprocess
import sys

import pytest

# Tensors of 40 MB, which glibc always gives back as soon as they are free: ten thousand pages each.
PROGRAM = """
import resource, sys, torch
from agents.learners.acting import in_parts

def network(observation):
    layers = [observation[0].new_ones(10_000_000) for _ in range(2)]
    return layers[0][:len(observation[0])]

torch.set_num_threads(1)
observation = torch.ones(40, 7), torch.ones(40, 5, 5), torch.ones(40, 5)
rows = int(sys.argv[1])
for _ in range(4):
    in_parts(network, observation, rows)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    in_parts(network, observation, rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(rows: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(rows)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such switch")
def test_what_a_part_frees_is_there_for_the_next():
    at_once, in_parts = page_faults(rows=40), page_faults(rows=10)
    assert 4 * in_parts < at_once  # for four times as many tensors

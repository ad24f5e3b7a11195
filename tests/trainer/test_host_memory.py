import resource
import sys
from pathlib import Path

import pytest
import torch

from trainer.host_memory import keep_freed_blocks, return_freed_blocks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="switches of glibc")

BLOCK_MIB = 48
PAGE = resource.getpagesize()


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def use_blocks(rounds):
    for _ in range(rounds):
        blocks = [torch.zeros(BLOCK_MIB * 2**18).add_(1.0) for _ in range(2)]
        del blocks


def test_blocks_are_not_fetched_from_the_kernel_again_and_again():
    pages_a_round = 2 * BLOCK_MIB * 2**20 // PAGE
    keep_freed_blocks()
    use_blocks(2)
    before = faults()
    use_blocks(20)
    assert faults() - before < 3 * pages_a_round  # 20 rounds of them where nothing is kept


def test_what_is_kept_goes_back_in_the_end():
    keep_freed_blocks()
    return_freed_blocks()
    before = resident_mib()
    use_blocks(1)
    kept = resident_mib() - before
    return_freed_blocks()
    assert kept > BLOCK_MIB
    assert resident_mib() - before < BLOCK_MIB / 4

import torch
from pytorch_metric_learning.losses import ContrastiveLoss

from trainer.batch_memory import BatchMemory


def memory():
    return BatchMemory(ContrastiveLoss(), embedding_size=2, memory_size=6)


def test_the_ring_goes_on_where_it_stood():
    torch.manual_seed(0)
    batches = [(torch.randn(4, 2), torch.tensor([0, 0, 1, 1])) for _ in range(3)]
    whole, first = memory(), memory()
    for batch in batches[:2]:
        whole(*batch)
        first(*batch)
    again = memory()
    again.load_state_dict(first.state_dict())
    # Two batches of four have gone round a ring of six: it is full and stands at 2.
    assert (again.queue_idx, again.has_been_filled) == (2, True)
    assert torch.equal(again(*batches[2]), whole(*batches[2]))
    assert torch.equal(again.embedding_memory, whole.embedding_memory)

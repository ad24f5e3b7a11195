"""A thorough look at pictures before anything is trained on them: every fault, none raised.

`trainer.data.inspect` refuses what cannot be used and decodes for the training that follows. This
package lists everything that is odd, also where there is much of it, and needs no torch.
"""

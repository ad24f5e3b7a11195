"""Checks pictures and folders for faults before training; raises none.

`trainer.data.inspect` refuses what cannot be used and decodes for the training that follows. This
package lists everything that is odd, also where there is much of it, and needs no torch.
"""

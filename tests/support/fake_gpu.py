"""A GPU without a GPU: tensors without contents, and a check that no operation leaves it."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda:0")


class OnlyOnGpu(TorchDispatchMode):
    """Raises AssertionError for an operation whose arguments or outputs are not on the GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, Tensor)]
        devices = {tensor.device for tensor in tensors}
        if devices - {GPU}:
            raise AssertionError(f"{func} has tensors on {', '.join(map(str, devices))}")
        return output

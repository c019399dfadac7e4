"""Muon for matrices that are sharded over rows (FSDP2): each is orthogonalised whole, by one worker that owns it.

torch's own Muon leaves the iteration to DTensor, which gathers in each of its products: sixteen collectives a matrix.
Here so many matrices of one shape as there are workers travel together: one exchange brings each to its owner, one
brings its update back (as in Dion's Muon, arXiv 2504.05295). What is computed is the same, to the bit: the iteration
begins by rounding to bfloat16, which is what travels.

Shapes: W workers; a matrix of R rows and C columns, of which worker w holds rows (r_w, C).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Muon
from torch.optim._muon import _adjust_lr, _zeropower_via_newtonschulz


class ShardedMuon(Muon):
    """torch's Muon, with an owner for each matrix; its state is sharded as the matrices are."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; all workers call it."""
        for group in self.param_groups:
            matrices, gradients, momenta = list[Tensor](), list[Tensor](), list[Tensor]()
            self._init_group(group, matrices, gradients, momenta)
            every = zip(matrices, gradients, momenta, strict=True)
            updates = [_momentum(cast(DTensor, g), cast(DTensor, m), group) for _, g, m in every]
            for indices in _together(matrices):
                batch = [cast(DTensor, matrices[index]) for index in indices]
                whole = _orthogonal(batch[0], [updates[index] for index in indices], group)
                for matrix, update in zip(batch, whole, strict=True):
                    rate = _adjust_lr(group["lr"], group["adjust_lr_fn"], matrix.shape)
                    matrix.to_local().mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def _momentum(gradient: DTensor, momentum: DTensor, group: dict[str, Any]) -> Tensor:
    """This worker's rows of what is to be orthogonalised, as the iteration rounds it."""
    own, average = gradient.to_local(), momentum.to_local()
    average.lerp_(own, 1 - group["momentum"])
    return (own.lerp(average, group["momentum"]) if group["nesterov"] else average).bfloat16()


def _together(matrices: Sequence[Tensor]) -> Iterator[list[int]]:
    """Indices of matrices of one shape, as many at a time as there are workers; the same on all of them."""
    by_shape = defaultdict[torch.Size, list[int]](list)
    for index, matrix in enumerate(matrices):
        by_shape[matrix.shape].append(index)
    for indices in by_shape.values():
        size = cast(DTensor, matrices[indices[0]]).device_mesh.size()
        yield from (indices[first : first + size] for first in range(0, len(indices), size))


def _orthogonal(like: DTensor, parts: Sequence[Tensor], group: dict[str, Any]) -> Sequence[Tensor]:
    """This worker's rows of up to W matrices -> its rows of their orthogonalised updates, (r_w, C) each.

    The matrix at index w belongs to worker w.
    """
    workers, rank, (rows, columns) = like.device_mesh.size(), like.device_mesh.get_local_rank(), like.shape
    own = parts[0].numel()
    sent = [own if owner < len(parts) else 0 for owner in range(workers)]
    received = [count * columns if rank < len(parts) else 0 for count in _rows(rows, workers)]
    process_group = like.device_mesh.get_group()
    whole = parts[0].new_empty(sum(received))
    dist.all_to_all_single(whole, torch.cat([part.flatten() for part in parts]), received, sent, process_group)
    if rank < len(parts):
        whole = _zeropower_via_newtonschulz(
            whole.view(rows, columns), group["ns_coefficients"], group["ns_steps"], group["eps"]
        ).flatten()
    back = whole.new_empty(sum(sent))
    dist.all_to_all_single(back, whole.contiguous(), sent, received, process_group)
    return [part.view(-1, columns) for part in back.split([own] * len(parts))]


def _rows(rows: int, workers: int) -> list[int]:
    """Rows of each worker, as FSDP2 deals them out: equally many but for the last ones."""
    most = -(-rows // workers)
    return [max(0, min(most, rows - worker * most)) for worker in range(workers)]

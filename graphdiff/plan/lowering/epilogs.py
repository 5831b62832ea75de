"""What a matrix product can do besides: found in the graph before anything is lowered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from graphdiff.plan.identities import scalar
from graphdiff.plan.program import Tensor

__all__ = ["Epilog", "find_epilogs"]


@dataclass(eq=False)
class Epilog:
    """What follows a product and can be computed by it.

    Attributes
    ----------
    product : Tensor
        The matmul.
    end : Tensor
        The node whose value the product computes with its epilog.
    bias : Tensor or None
    activation : {"", "RELU", "GELU"}
    before : Tensor or None
        What a GELU is of.
    masked_by : Tensor or None
        The end of the product with an activation by whose derivative this one's result is multiplied.
    derivative : {"", "RELU", "GELU"}
        Of which activation.
    total : Tensor or None
        The sum over the rows, of the masked result or of the product's right operand.
    absorbed : list of Tensor
        The nodes before the end: nobody else reads them.
    """

    product: Tensor
    end: Tensor
    bias: Tensor | None = None
    activation: str = ""
    before: Tensor | None = None
    masked_by: Tensor | None = None
    derivative: str = ""
    total: Tensor | None = None
    absorbed: list[Tensor] = field(default_factory=list)

    def extend(self, node: Tensor) -> None:
        """Take up a further node."""
        self.absorbed.append(self.end)
        self.end = node


class _Finder:
    def __init__(self, users: dict[Tensor, list[Tensor]], rooted: set[Tensor], sums_masked: bool) -> None:
        self.users, self.rooted, self.sums_masked = users, rooted, sums_masked
        self.found: dict[Tensor, Epilog] = {}

    def only_user(self, node: Tensor) -> Tensor | None:
        users = self.users.get(node, [])
        return users[0] if len(users) == 1 and node not in self.rooted else None

    def forward(self, product: Tensor) -> Epilog:
        """Take up a bias that is added to every row, and a ReLU or GELU."""
        epilog = Epilog(product, product)
        added = self.only_user(product)
        if added is not None and _is(added, "add") and added.shape == product.shape and added.dtype == product.dtype:
            bias = next((operand for operand in added.inputs if operand is not product), product)
            columns = product.shape[1]
            if bias.shape in ((columns,), (1, columns)) and bias.dtype == product.dtype and product.shape[0] > 1:
                epilog.extend(added)
                epilog.bias = bias
        gelu = self.gelu_of(epilog.end)
        if gelu is not None:
            epilog.before, epilog.activation = epilog.end, "GELU"
            epilog.extend(gelu)
            return epilog
        rectified = self.only_user(epilog.end)
        if rectified is None or not _is(rectified, "maximum") or rectified.shape != product.shape:
            return epilog
        if any(scalar(operand) == 0 for operand in rectified.inputs if operand is not epilog.end):
            epilog.extend(rectified)
            epilog.activation = "RELU"
        return epilog

    def gelu_of(self, node: Tensor) -> Tensor | None:
        """Return the GELU of a node that nobody needs before it."""
        users = self.users.get(node, [])
        gelu = next((user for user in users if _is(user, "gelu_tanh")), None)
        if gelu is None or node in self.rooted or any(user.serial < gelu.serial for user in users):
            return None
        return gelu

    def backward(self, epilog: Epilog) -> None:
        """Take up the derivative of an activation, and the sum of the rows of what results."""
        masked = self.only_user(epilog.product)
        if masked is None or epilog.end is not epilog.product or not _is(masked, "multiply"):
            return
        factor = next((operand for operand in masked.inputs if operand is not epilog.product), epilog.product)
        forward = self.activated(factor)
        if forward is not None and forward.end.shape == masked.shape:
            epilog.extend(masked)
            epilog.masked_by, epilog.derivative = forward.end, forward.activation
            above, known = masked, {forward.end, forward.before}
            while factor not in known and self.only_user(factor) is above:
                epilog.absorbed.append(factor)
                above, factor = factor, factor.inputs[0]
            epilog.total = self.row_sum(masked, epilog.end) if self.sums_masked else None

    def activated(self, factor: Tensor) -> Epilog | None:
        """Return the product with the activation whose derivative a factor is."""
        if _is(factor, "gelu_tanh_slope"):
            return next((each for each in self.found.values() if each.before is factor.inputs[0]), None)
        rectified = _mask_of(factor)
        forward = self.found.get(rectified) if rectified is not None else None
        return forward if forward is not None and forward.activation == "RELU" else None

    def row_sum(self, node: Tensor, product: Tensor) -> Tensor | None:
        """Return the sum of a matrix over its rows that is first needed after the product."""
        for user in self.users.get(node, []):
            summed = _is(user, "sum") and user.attributes["axis"] == (0,) and not user.attributes["keepdims"]
            if summed and all(later.serial > product.serial for later in self.users.get(user, [])):
                return user
        return None


def find_epilogs(
    order: list[Tensor],
    users: dict[Tensor, list[Tensor]],
    rooted: set[Tensor],
    is_product: Callable[[Tensor], bool],
    sums_masked: bool,
) -> dict[Tensor, Epilog]:
    """Return, by the node at which each product ends, what it computes.

    Parameters
    ----------
    order : list of Tensor
        Inputs before users.
    users : dict
        The nodes that use each node.
    rooted : set of Tensor
        Nodes that somebody outside reads.
    is_product : callable
        Whether a node is a matrix product that cuBLASLt is to compute.
    sums_masked : bool
        Whether a product with a mask may sum its rows; else a product that reads them may.
    """
    finder = _Finder(users, rooted, sums_masked)
    totals: set[Tensor] = set()
    for node in order:
        if is_product(node):
            epilog = finder.forward(node)
            finder.backward(epilog)
            finder.found[epilog.end] = epilog
            totals |= {epilog.total} if epilog.total is not None else set()
    for epilog in list(finder.found.values()):
        plain = epilog.end is epilog.product and epilog.masked_by is None
        if plain and _is(epilog.product.inputs[0], "permute_dims"):
            total = finder.row_sum(epilog.product.inputs[1], epilog.product)
            if total is not None and total not in totals:
                epilog.total = total
                totals.add(total)
    return finder.found


def _is(node: Tensor, name: str) -> bool:
    return node.op is not None and node.op.name == name


def _mask_of(factor: Tensor) -> Tensor | None:
    """Return h where the factor is 0 for h ≤ 0 and 1 elsewhere, as a number."""
    if not _is(factor, "astype") or not _is(factor.inputs[0], "bitwise_invert"):
        return None
    test = factor.inputs[0].inputs[0]
    if not _is(test, "less_equal"):
        return None
    x, bound = test.inputs
    return x if scalar(bound) == 0 and bound.size == 1 else None

"""e = (a + b)·(b + 1): values, adjoints from e downwards, tangents from b upwards, and a drawing."""

import sys

import graphdiff as gd

a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
c = (a + b).named("c")
d = (b + 1).named("d")
e = (c * d).named("e")

e.backward()
adjoint = gd.adjoints(e)
tangent = gd.tangents(e, {b: 1.0})
print(f"{'node':<6}{'value':>8}{'∂e/∂node':>10}{'∂node/∂b':>10}")
for node in (a, b, c, d, e):
    moved = tangent[node].item() if node in tangent else 0.0
    print(f"{node.name:<6}{node.item():>8}{adjoint[node].item():>10}{moved:>10}")

if len(sys.argv) > 1:
    print("wrote", gd.draw(e).save(sys.argv[1]))

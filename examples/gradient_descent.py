"""Gradient descent by hand: one step on f(w) = (w - 1)² + (w - 3)², and one stochastic step on a batch."""

import graphdiff as gd

w = gd.variable(1.0, name="w")
f = (w - 1) ** 2 + (w - 3) ** 2
f.backward()
w -= 0.1 * w.grad
value = (w - 1) ** 2 + (w - 3) ** 2
print(f"after one step w = {w.item():.1f}, f = {value.item():.2f}")

w = gd.variable(10.0, name="w")
loss = gd.mean((w - gd.constant([1.0, 2.0, 3.0, 4.0])) ** 2)
gd.optim.SGD([w], lr=0.1).minimize(loss)
print(f"after one stochastic step w = {w.item():.1f}")

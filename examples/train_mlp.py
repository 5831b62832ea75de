"""A small MLP learns which quadrant a point is in, up to a reflection: the exclusive-or of two signs."""

import numpy as np

import graphdiff as gd

random = np.random.default_rng(0)
points = random.normal(size=(600, 2)).astype("float32")
labels = (points[:, 0] * points[:, 1] > 0).astype("int64")
train, held_out = slice(0, 450), slice(450, None)

model = gd.nn.MLP([16, 16, 2], activation="tanh", in_features=2)
history = gd.train.fit(
    model,
    gd.nn.softmax_cross_entropy,
    (points[train], labels[train]),
    gd.optim.Adam(model.parameters(), lr=1e-2),
    epochs=40,
    validation=(points[held_out], labels[held_out]),
)
print(f"held-out accuracy {history[-1]['validation_accuracy']:.1%}")

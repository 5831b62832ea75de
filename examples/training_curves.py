"""Look at training: a learning rate by the range test, the curves of a fit, each layer's activations and gradients.

Writes learning_rate.png, training_curves.png and layers.png.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphdiff as gd

images, labels = load_digits(return_X_y=True)
X, X_held_out, y, y_held_out = train_test_split((images / 16).astype("float32"), labels, random_state=0)
loss = gd.nn.softmax_cross_entropy

model = gd.nn.MLP([64, 64, 10], in_features=64, seed=0)
optimizer = gd.optim.Adam(model.parameters(), lr=1e-3)

# Before training: at which learning rate does the loss fall fastest? Model and optimiser are put back afterwards.
found = gd.optim.lr_range_test(model, loss, (X, y), optimizer, start=1e-5, stop=1.0, steps=150)
print(f"the loss falls fastest at a learning rate of {found.suggestion:.1g}: {found.plot('learning_rate.png')}")
optimizer.lr = found.suggestion

# While training: what comes out of the layers, and what comes back.
layers = gd.train.LayerHistograms((X_held_out, y_held_out), loss)
history = gd.train.fit(
    model, loss, (X, y), optimizer, epochs=25, batch_size=64, validation=(X_held_out, y_held_out), callbacks=[layers]
)
print(f"held-out accuracy {history[-1]['validation_accuracy']:.1%}: {history.plot('training_curves.png')}")
print(f"activations and gradients of {len(layers.layers)} layers: {layers.plot('layers.png')}")

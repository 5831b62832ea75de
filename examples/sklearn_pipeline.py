"""graphdiff's networks among scikit-learn's tools: pipeline, grid search, sample weights, streams, pickle."""

import pickle
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graphdiff.train import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # few epochs are enough here
X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)

# The parameters are scikit-learn's own; float32 takes half the time of float64.
network = MLPClassifier((64,), learning_rate_init=3e-3, max_iter=30, dtype="float32", random_state=0)
pipeline = make_pipeline(StandardScaler(), network)
grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__activation": ["relu", "tanh"]}
search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
print(f"best of four: {search.best_params_}")
print(f"held-out accuracy {search.score(X_test, y_test):.1%}")

# Examples that matter more: eights that count little are missed, eights that count much are found.
print("\nhow much an eight counts, and how many eights are found")
for weight in (0.1, 1.0, 5.0):
    weights = np.where(y == 8, weight, 1.0)
    weighted = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=15, dtype="float32", random_state=0))
    weighted.fit(X, y, mlpclassifier__sample_weight=weights)
    found = recall_score(y_test == 8, weighted.predict(X_test) == 8)
    print(f"{weight:4}: {found:.0%}")

# Data that comes in pieces.
scaler = StandardScaler().fit(X)
stream = MLPClassifier((64,), learning_rate_init=3e-3, batch_size=32, dtype="float32", random_state=0)
print("\nrows seen, accuracy")
for end in range(200, len(X) + 1, 200):
    stream.partial_fit(scaler.transform(X[end - 200 : end]), y[end - 200 : end], classes=np.arange(10))
    print(f"{end:9}  {stream.score(scaler.transform(X_test), y_test):.1%}")

# A fitted network goes through pickle, optimiser included, and learns on.
loaded = pickle.loads(pickle.dumps(stream))
assert np.array_equal(loaded.predict_proba(X_test), stream.predict_proba(X_test))
print("\nthe pickled network predicts the same")

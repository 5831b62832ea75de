"""Every example runs, and prints what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
PRINTED = {
    "checkpoint_memory.py": "11                        93   (by the formula 93)",
    "comparing_pictures.py": "wrote comparing_crossover.svg",
    "compiled_training.py": "\npasses\nopen",
    "gallery.py": "wrote gallery/vanishing.svg\n",
    "house.py": "house.svg\n",
    "gradient_descent.py": "after one step w = 1.4, f = 2.72\nafter one stochastic step w = 8.5\n",
    "optimizer_paths.py": "Beale's function           L-BFGS            after 120 steps at ( 3.000,  0.500)\n",
    "literature.py": "human heart dipole",
    "lecture_expression.py": "e          6.0       1.0       5.0\n",
    "networkx_algorithms.py": "between y and x: multiply, h, y\npaths from x to y: 3 and as gd.paths counts them: 3\n",
    "second_order.py": "wrote second_order.svg",
    "sklearn_pipeline.py": "held-out accuracy 9",
    "training_curves.py": "activations and gradients of 5 layers: layers.png\n",
    "train_mlp.py": "held-out accuracy 9",
}

ARGUMENTS = {"optimizer_paths.py": ["--frames", "3"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", str(example), *ARGUMENTS.get(example.name, [])],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert PRINTED[example.name] in done.stdout

"""Importing graphdiff is light, and what is heavy is loaded when it is asked for."""

import subprocess
import sys

import pytest

HEAVY = {
    "networkx",
    "graphviz",
    "pygraphviz",
    "rich",
    "scipy",
    "click",
    "matplotlib",
    "sklearn",
    "torch",
    "jax",
    "cupy",
    "safetensors",
    "pandas",
    "onnx",
    "onnxruntime",
}


def loaded_by(code: str) -> set[str]:
    """Return which modules a fresh interpreter has loaded after running `code`."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import graphdiff",
        "import graphdiff as gd; x = gd.variable(2.0); (x * x).backward(); print(gd.jacobian(gd.tanh)(x))",
        "import graphdiff as gd; gd.optim.Adam(gd.nn.Linear(1, in_features=1).parameters())",
    ],
)
def test_heavy_packages_are_not_loaded(code: str) -> None:
    loaded = loaded_by(code)
    assert "graphdiff" in loaded
    assert loaded & HEAVY == set()


def test_what_is_loaded_later_is_listed_before() -> None:
    program = "import graphdiff as gd; print(*dir(gd))"
    listed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"compile", "nn", "train", "tanh", "Tensor", "grad"} <= set(listed)
    assert not any(name.startswith("_") for name in listed)


def test_the_import_scans_no_entry_points_and_loads_no_more_than_it_needs() -> None:
    loaded = loaded_by("import graphdiff") - loaded_by("import numpy")
    assert loaded & {"importlib.metadata", "importlib.resources", "numpy.random"} == set()


def test_what_is_asked_for_is_loaded() -> None:
    loaded = loaded_by(
        "import graphdiff as gd; gd.draw(gd.variable(1.0) * 2); gd.Graph(gd.variable(1.0)).to_networkx()"
    )
    assert {"graphviz", "networkx", "graphdiff.draw"} <= loaded
    assert "pygraphviz" not in loaded  # only rendering needs it


def test_an_unknown_name_is_an_attribute_error() -> None:
    import graphdiff

    with pytest.raises(AttributeError, match=r"'graphdiff' has no attribute 'nothing'"):
        graphdiff.nothing

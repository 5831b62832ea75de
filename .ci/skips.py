"""Fail where a test was skipped for a reason that is not on the list.

``python .ci/skips.py tests.xml`` reads pytest's JUnit file, prints the reasons with their counts, and exits with 1
where one is not allowed.
"""

import re
import sys
from collections import Counter
from xml.etree import ElementTree

ALLOWED = {
    r"no GPU: ": "needs an NVIDIA GPU and CuPy",
    r"CuPy is not installed|nvmath-python is not installed": "needs CuPy, of which there is a wheel per CUDA version",
    r"PyTorch is not installed": "compares with PyTorch, which the tests do not install",
    r"MLPClassifier does not have a decision_function": "is scikit-learn's own check of estimators of another kind",
    r"SCIPY_ARRAY_API is not set": "is scikit-learn's own check of arrays that are not NumPy's, which are not taken",
    r"pdflatex is not installed": "compiles LaTeX where it is to be had",
}


def main(path: str) -> int:
    """Print what was skipped; return the exit status."""
    reasons = Counter(skip.get("message", "") for skip in ElementTree.parse(path).iter("skipped"))
    allowed = Counter(dict.fromkeys(ALLOWED, 0))
    unknown = []
    for reason, count in reasons.items():
        pattern = next((pattern for pattern in ALLOWED if re.match(pattern, reason)), None)
        if pattern is None:
            unknown.append(f"{count} × {reason}")
        else:
            allowed[pattern] += count
    for pattern, count in allowed.items():
        print(f"{count:5} skipped: {ALLOWED[pattern]}")
    print(*(f"NOT ALLOWED: {line}" for line in unknown), sep="\n")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The command: ``python -m tests.fuzz --programs 1000 --training 100 --seed 1``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests' helpers, which the suite finds there

from fuzz import engines, expressions, misuse, programs, training
from fuzz.cases import flush, run

KINDS = {"programs": programs.make, "training": training.make, "misuse": misuse.make, "expressions": expressions.make}


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; return the exit status, 1 where a difference was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, metavar="N", help=f"how many {kind} to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="I", help="run case I of the seed alone")
    parser.add_argument("--engine", choices=engines.ENGINES, default="numpy", help="what runs compiled functions")
    parser.add_argument("--shrink", type=float, default=15.0, metavar="SECONDS", help="for each difference found")
    parser.add_argument("--ignore", action="append", default=[], metavar="KIND", help="only count such differences")
    options = parser.parse_args(arguments)
    engines.choose(options.engine)
    found = 0
    for kind, make in KINDS.items():
        count = getattr(options, kind)
        if not count:
            continue
        numbers = range(count) if options.only is None else range(options.only, options.only + 1)
        started = time.perf_counter()
        tally = run(
            make,
            options.seed,
            numbers,
            seconds=options.shrink,
            tell=flush,
            name=kind,
            ignore=options.ignore,
            once=kind == "misuse",
        )
        found += len(tally.found)
        refused = sum(tally.refused.values())
        flush(
            f"{kind}: {len(tally.found)} differences in {tally.cases}, of which {refused} say nothing "
            f"({time.perf_counter() - started:.0f} s)"
        )
        for reason, times in sorted(tally.refused.items(), key=lambda each: -each[1]):
            flush(f"  {times} {reason}")
        if kind == "misuse":
            for sort, times in Counter(difference.kind for _, _, difference in tally.found).most_common():
                flush(f"  {times} {sort}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

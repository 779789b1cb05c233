"""Rewrites the golden pictures and the golden stage outputs: what the pipeline makes now is accepted.

    make golden                               # or: python -m tests.golden.update

A stage whose output differs at the version that is stored already is refused: raise its version first.
"""

import argparse
import sys
from typing import Any

from tests.golden import pictures, stages
from tests.golden.common import MODELS_DIR, PEOPLE_DIR, golden_settings
from worker.lab.demo import photographs
from worker.stages.models import Models


def main() -> int:
    """Rewrite both; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.update", description=__doc__)
    parser.add_argument(
        "--replace",
        action="store_true",
        help="replace the outputs of a version that is stored already: it has never been released",
    )
    parser.add_argument(
        "--inputs",
        action="store_true",
        help="rewrite the fixed inputs of the stages, too; implies --replace. Needed when a stage reads "
        "something that the stored bundles lack.",
    )
    arguments = parser.parse_args()
    with golden_settings(), Models(MODELS_DIR) as models:
        if arguments.inputs:
            stages.write_inputs(models)
        accepted = update_stages(models, replace=arguments.replace or arguments.inputs)
        update_pictures(models)
    return 0 if accepted else 1


def update_stages(models: Models, *, replace: bool) -> bool:
    """Store the outputs of all stages unless one is refused; returns whether they were stored."""
    made: dict[tuple[str, str], dict[str, Any]] = {}
    refused = False
    for stage, method in stages.METHODS:
        made[stage, method] = stages.digest(stages.outputs(stage, method, models))
        try:
            stored = stages.read_digest(stage, method)
        except KeyError:
            print(f"{stage} by {method}: new at version {stages.version(stage)}")
            continue
        changed = stages.changes(stage, method, stored, made[stage, method])
        if not changed:
            made[stage, method] = stored  # no change of rounding alone in the repository
        elif not replace:
            refused = True
            print(stages.RAISE_VERSION.format(stage=stage), file=sys.stderr)
        print("\n".join(map(str, changed)) or f"{stage} by {method}: unchanged")
    if not refused:
        stages.write_digests(made)
    return not refused


def update_pictures(models: Models) -> None:
    """Store the result of every case as its reference."""
    missing = photographs.missing(PEOPLE_DIR)
    if missing:
        print(f"The golden pictures stay: {', '.join(missing)} not in {PEOPLE_DIR}. Run `make people`.")
        return
    for case in pictures.CASES:
        done = pictures.try_on(case, models)
        try:
            likeness = f"similarity to the reference before {_similarity(case, done):.4f}"
        except FileNotFoundError:
            likeness = "new"
        pictures.write_reference(done)
        print(f"{case}: {likeness}")


def _similarity(case: pictures.Case, done: pictures.TryOn) -> float:
    return pictures.similarity(pictures.reference(case), done.small())


if __name__ == "__main__":
    sys.exit(main())

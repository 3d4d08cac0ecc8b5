"""Training jobs: where each starts, what its card says, and that a stage cut off is of use."""

import numpy as np
import pytest

from experiments import jobs, ladder, train_zoo
from experiments.jobs import Job
from srlib.models import cards, zoo
from srlib.training import Recipe


def equal(ours, theirs) -> bool:
    pairs = zip(ours.get_weights(), theirs.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("listed", [train_zoo.JOBS, ladder.JOBS])
def test_every_stage_starts_from_one_before_it_or_from_what_ships(listed):
    known = []
    for name, job in listed.items():
        assert job.starts_from in (None, *known)
        assert job.grows_from in (None, *cards.available())
        assert not (job.starts_from and job.grows_from)
        known.append(name)


def test_a_job_may_start_from_shipped_weights_with_or_without_growing(tmp_path):
    recipe = Recipe(precision="float32")
    same = jobs.start(Job("hourglass", recipe, grows_from="hourglass-mse"), tmp_path)
    assert equal(same, zoo.load("hourglass-mse"))
    parent = zoo.load("residual-mse")
    grown = Job("residual", recipe, options={"blocks": 7}, grows_from="residual-mse")
    model = jobs.start(grown, tmp_path)
    assert model.count_params() > parent.count_params()
    assert equal(model.get_layer("stem"), parent.get_layer("stem"))

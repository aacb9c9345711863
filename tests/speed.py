"""Times scikit-learn, scipy and river, then the program that is told, and prints ratios. Called by `speed`."""
import json
import os
import subprocess
import sys
import time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

import numpy as np
from river import anomaly
from scipy import stats
from sklearn.ensemble import IsolationForest


def seconds(work, repeats):
    """Shortest of some runs, so that a busy machine does not count."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def peers():
    chance = np.random.default_rng(7)
    rows = chance.normal(size=(10_000, 8))
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=7, n_jobs=1).fit(rows)
    one, other = chance.normal(size=1_000), chance.normal(size=1_000)
    trees = anomaly.HalfSpaceTrees(seed=7)
    stream = [{"value": float(value)} for value in chance.uniform(size=3_000)]

    def fit_and_score():
        IsolationForest(n_estimators=100, max_samples=256, random_state=7, n_jobs=1).fit(rows).score_samples(rows)

    def half_space_trees():
        for reading in stream:
            trees.score_one(reading)
            trees.learn_one(reading)

    return {
        "isolation forest, 10,000 x 8, fit and score": seconds(fit_and_score, 3),
        "isolation forest, one row": seconds(lambda: forest.score_samples(rows[:1]), 20),
        "Kolmogorov-Smirnov, 1,000 against 1,000": seconds(lambda: stats.ks_2samp(one, other), 20),
        "one reading of a stream": seconds(half_space_trees, 3) / len(stream),
    }


# How many times faster than its peer each must be.
LEAST = {
    "isolation forest, 10,000 x 8, fit and score": 5,
    "isolation forest, one row": 100,
    "Kolmogorov-Smirnov, 1,000 against 1,000": 20,
    "one reading of a stream": 1,
}


def main():
    theirs = peers()
    ours = json.loads(subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout)
    short = False
    print(f"{'':46s} {'Python':>12s} {'here':>12s} {'ratio':>8s} {'least':>6s}")
    for name, least in LEAST.items():
        ratio = theirs[name] / ours[name]
        short |= ratio < least
        print(f"{name:46s} {theirs[name] * 1e6:9.1f} us {ours[name] * 1e6:9.2f} us {ratio:8.1f} {least:6d}")
    print(f"one sensor's detector: {1 / ours['one reading of a stream']:,.0f} readings/s on one core")
    sys.exit("speed: falls short" if short else None)


main()

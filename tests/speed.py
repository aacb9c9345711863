"""Times scikit-learn, shap, LightGBM, scipy and river, then the program that is told, and prints ratios. Called by `speed`."""
import json
import os
import subprocess
import sys
import time

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

# Each package picks its kernels for this processor, whatever another program was told.
for choice in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(choice, None)

import lightgbm
import numpy as np
import shap
from river import anomaly
from scipy import stats
from sklearn.ensemble import IsolationForest, RandomForestClassifier


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

    table = chance.normal(size=(10_000, 10))
    labels = (table[:, 0] * table[:, 1] + 0.5 * table[:, 2] + 0.3 * chance.normal(size=10_000) > 0).astype(int)

    def grow():
        return RandomForestClassifier(n_estimators=100, max_features=3, random_state=7, n_jobs=1).fit(table, labels)

    def boost():
        return lightgbm.LGBMClassifier(
            n_estimators=100, num_leaves=31, learning_rate=0.1, n_jobs=1, random_state=7, verbose=-1
        ).fit(table, labels)

    grown, boosted = grow(), boost()
    explainer = shap.TreeExplainer(grown, feature_perturbation="tree_path_dependent")
    some = table[:20]

    return {
        "random forest, 10,000 x 10, 100 trees, fit": seconds(grow, 3),
        "random forest, one row": seconds(lambda: grown.predict_proba(table[:1]), 20),
        "random forest, SHAP of a row": seconds(lambda: explainer.shap_values(some, check_additivity=False), 3) / len(some),
        "boosted trees, 10,000 x 10, 100 trees, fit": seconds(boost, 3),
        "boosted trees, one row": seconds(lambda: boosted.predict_proba(table[:1]), 20),
        "boosted trees, SHAP of a row": seconds(lambda: boosted.predict(some, pred_contrib=True), 5) / len(some),
        "isolation forest, 10,000 x 8, fit and score": seconds(fit_and_score, 3),
        "isolation forest, one row": seconds(lambda: forest.score_samples(rows[:1]), 20),
        "Kolmogorov-Smirnov, 1,000 against 1,000": seconds(lambda: stats.ks_2samp(one, other), 20),
        "one reading of a stream": seconds(half_space_trees, 3) / len(stream),
    }


# How many times faster than its peer each must be; 0 for what is only shown.
LEAST = {
    "random forest, 10,000 x 10, 100 trees, fit": 1,
    "random forest, one row": 100,
    "random forest, SHAP of a row": 5,
    "boosted trees, 10,000 x 10, 100 trees, fit": 0,
    "boosted trees, one row": 0,
    "boosted trees, SHAP of a row": 0,
    "isolation forest, 10,000 x 8, fit and score": 5,
    "isolation forest, one row": 100,
    "Kolmogorov-Smirnov, 1,000 against 1,000": 20,
    "one reading of a stream": 1,
}

READINGS_PER_SECOND_LEAST = 300_000


def main():
    theirs = peers()
    ours = json.loads(subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout)
    short = False
    print(f"{'':46s} {'Python':>12s} {'here':>12s} {'ratio':>8s} {'least':>6s}")
    for name, least in LEAST.items():
        ratio = theirs[name] / ours[name]
        short |= ratio < least
        print(f"{name:46s} {theirs[name] * 1e6:9.1f} us {ours[name] * 1e6:9.2f} us {ratio:8.1f} {least:6d}")
    readings_per_second = 1 / ours["one reading of a stream"]
    short |= readings_per_second < READINGS_PER_SECOND_LEAST
    print(
        f"one sensor's detector: {readings_per_second:,.0f} readings/s on one core,"
        f" at least {READINGS_PER_SECOND_LEAST:,}"
    )
    sys.exit("speed: falls short" if short else None)


main()

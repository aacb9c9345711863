"""Compares what a node serves from a real MLflow server with scikit-learn. Called by `mlflow`, with the program's path."""
import contextlib
import hashlib
import json
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings

warnings.filterwarnings("ignore")
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

# It tells of every step, and of a server with graphics cards that there is not.
for noisy in ("mlflow", "mlflow.onnx", "mlflow.models.model"):
    logging.getLogger(noisy).setLevel(logging.CRITICAL)
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"

COLUMNS = ["Air_temperature_K", "Process_temperature_K", "Rotational_speed_rpm", "Torque_Nm", "Tool_wear_min"]
# A name that the embedded registry has as well.
SHARED = "ai4i_classifier_randomforest_baseline"
TOLERANCE = 1e-5
PASSWORD = "hush-42"


def table(n_rows):
    chance = np.random.default_rng(11)
    rows = chance.normal([300, 310, 1500, 40, 110], [2, 1.5, 180, 10, 60], size=(n_rows, 5)).astype(np.float32)
    strain = rows[:, 3] * rows[:, 4]
    failed = (strain + chance.normal(0, 300, n_rows) > 6_000).astype(int)
    grade = np.digitize(rows[:, 2], [1_400, 1_600])
    return pd.DataFrame(rows, columns=COLUMNS), failed, grade, strain / 1_000


def fitted():
    rows, failed, grade, strain = table(1_000)
    return rows, {
        "forest": RandomForestClassifier(100, random_state=1).fit(rows, failed),
        "forest_of_three": RandomForestClassifier(30, random_state=1).fit(rows, grade),
        "extra_trees": ExtraTreesClassifier(30, random_state=1).fit(rows, failed),
        "boosting": GradientBoostingClassifier(random_state=1).fit(rows, failed),
        "boosting_of_three": GradientBoostingClassifier(n_estimators=30, random_state=1).fit(rows, grade),
        "scaled_logistic": make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, failed),
        "scaled_logistic_of_three": make_pipeline(MinMaxScaler(), LogisticRegression()).fit(rows, grade),
        "ridge": make_pipeline(StandardScaler(), Ridge()).fit(rows, strain),
        "forest_regressor": RandomForestRegressor(30, random_state=1).fit(rows, strain),
        "boosting_regressor": GradientBoostingRegressor(random_state=1).fit(rows, strain),
        SHARED: RandomForestClassifier(20, random_state=2).fit(rows, failed),
    }


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def process(command, log, **more):
    with open(log, "ab") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **more)
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def until(what, check, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if found := check():
                return found
        time.sleep(0.1)
    sys.exit(f"mlflow: {what} did not come in {seconds} s")


def server(work, number):
    command = [str(pathlib.Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(number), "--backend-store-uri", f"sqlite:///{work}/mlflow.db"]
    return process([*command, "--artifacts-destination", f"{work}/artefacts"], work / "mlflow.log", cwd=work)


class Node:
    def __init__(self, base):
        self.base = base

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"X-API-Key": "mlflow", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def ok(self, path, body=None):
        status, answer = self.ask(path, body)
        assert status == 200, (path, status, answer)
        return answer


@contextlib.contextmanager
def node(program, work, address, **more):
    log = work / "node.log"
    log.touch()
    size = log.stat().st_size
    env = os.environ | {"API_KEY": "mlflow", "MLFLOW_TRACKING_URI": address, "SMART_MAINTENANCE__MLFLOW__REFRESH_SECONDS": "0.2"}
    env |= {"SMART_MAINTENANCE__MODELS__TRAIN_AFTER_SECONDS": "3600"} | more
    with process([program, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(work / "data")], log, env=env):
        def listening():
            lines = log.read_bytes()[size:].decode().splitlines()
            return next((line.split()[-1] for line in lines if line.startswith("listening on ")), None)

        yield Node(until("the node", listening))


def log_all(rows, models):
    for name, model in models.items():
        classifier = hasattr(model, "predict_proba")
        # Half of them as skl2onnx writes them unless told otherwise.
        options = {id(model): {"zipmap": False}} if classifier and len(name) % 2 else None
        exported = to_onnx(model, rows.to_numpy()[:1], options=options)
        with mlflow.start_run():
            mlflow.onnx.log_model(
                exported,
                name="model",
                registered_model_name=name,
                signature=infer_signature(rows, model.predict(rows)),
                input_example=rows[:5],
            )
        tags = mlflow.MlflowClient()
        tags.set_model_version_tag(name, "1", "sha256", hashlib.sha256(exported.SerializeToString()).hexdigest())
    mlflow.MlflowClient().set_registered_model_alias("forest", "champion", "1")


def compare(asked, rows, models):
    """Largest distance between what the node says and what scikit-learn does, over many rows of each model."""
    worst = 0.0
    for name, model in models.items():
        some = rows.iloc[500:540].astype(np.float64)
        classifier = hasattr(model, "predict_proba")
        expected = model.predict_proba(some) if classifier else model.predict(some)
        labels = model.predict(some)
        for idx, (_, row) in enumerate(some.iterrows()):
            features = {column: float(value) for column, value in row.items()}
            said = asked.ok("/api/v1/ml/predict", {"model_name": name, "features": features, "explain": idx == 0})
            assert said["model_info"]["loaded_from"] == "mlflow", said
            assert said["model_info"]["model_version"] == "1", said
            if classifier:
                own = [said["probabilities"][str(label)] for label in model.classes_]
                worst = max(worst, *(abs(one - other) for one, other in zip(own, expected[idx])))
                assert said["prediction"] == [labels[idx]], (name, idx, said, expected[idx])
            else:
                worst = max(worst, abs(said["prediction"][0] - expected[idx]) / max(1.0, abs(expected[idx])))
            if idx == 0:
                total = said["base_value"] + sum(said["shap_values"].values())
                spoken = max(own) if classifier and len(own) != 2 else own[1] if classifier else said["prediction"][0]
                assert abs(total - spoken) < 1e-9 * max(1.0, abs(spoken)), (name, said)
                path = "/api/v1/ml/predictions/" + said["request_id"]
                assert asked.ok(path)["predictions"][0]["sha256"] == said["model_info"]["sha256"]
        assert worst < TOLERANCE, (name, worst)
    return worst


def registry(asked):
    told = asked.ok("/api/v1/ml/models")
    return told["registry"]["mlflow"], told["models"]


def from_store(asked, rows):
    features = {column: float(value) for column, value in rows.iloc[0].items()}
    said = asked.ok("/api/v1/ml/predict", {"model_name": SHARED, "features": features})
    assert said["model_info"]["loaded_from"] == "embedded", said
    start = 1_767_225_600
    readings = [{"sensor_id": "press", "value": 60 + idx % 5, "timestamp": start + 60 * idx} for idx in range(60)]
    for reading in readings:
        status, answer = asked.ask("/api/v1/data/ingest", reading)
        assert status == 200, answer
    ask = {"sensor_id": "press", "model_name": "prophet_forecaster_enhanced_sensor-001"}
    assert asked.ok("/api/v1/ml/forecast", ask)["model_info"]["loaded_from"] == "embedded"
    reading = {"sensor_id": "press", "sensor_type": "temperature", "unit": "C", "value": 99.0, "timestamp": start + 3_600}
    judged = asked.ok("/api/v1/ml/detect_anomaly", {"sensor_readings": [reading]})
    assert judged["model_info"]["loaded_from"] == "embedded", judged


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    rows, models = fitted()
    with tempfile.TemporaryDirectory() as folder:
        work, number = pathlib.Path(folder), port()
        base = f"http://127.0.0.1:{number}"
        address = f"http://ana:{PASSWORD}@127.0.0.1:{number}"
        with node(program, work, address) as asked:
            with server(work, number):
                until("MLflow", lambda: urllib.request.urlopen(base + "/health", timeout=5).status == 200)
                time.sleep(0.3)
                state, listed = registry(asked)
                assert state["status"] == "empty" and 17 <= len(listed), state
                mlflow.set_tracking_uri(base)
                log_all(rows, models)
                time.sleep(0.3)
                state, listed = registry(asked)
                assert state == {"status": "populated", "count": len(models)}, state
                assert {one["name"] for one in listed if one["registry"] == "mlflow"} == set(models), listed
                worst = compare(asked, rows, models)
                print(f"predictions of {len(models)} models, 40 rows each: at most {worst:.1e} from scikit-learn's")
                missing = {"model_name": "forest", "features": {"Torque_Nm": 1.0}}
                status, answer = asked.ask("/api/v1/ml/predict", missing)
                assert status == 422 and "air_temperature_k" in json.dumps(answer), (status, answer)
                versions = asked.ok("/api/v1/ml/models/forest/versions")["versions"]
                assert [one["version"] for one in versions] == ["1"], versions
                assert asked.ok("/api/v1/ml/models/forest/latest")["current_stage"] == "Production"
                mlflow.MlflowClient().set_model_version_tag("ridge", "1", "sha256", "00")
            time.sleep(0.3)
            state, _ = registry(asked)
            assert state["status"] == "error" and state["error"], state
            from_store(asked, rows)
            print("server gone: answered by the embedded registry, and /ml/models says why")
        with node(program, work, address, DISABLE_MLFLOW_MODEL_LOADING="true") as asked:
            assert registry(asked)[0]["status"] == "disabled", registry(asked)
            from_store(asked, rows)
            print("switched off: answered by the embedded registry")
        with server(work, number):
            until("MLflow", lambda: urllib.request.urlopen(base + "/health", timeout=5).status == 200)
            with node(program, work, address) as asked:
                features = {column: float(value) for column, value in rows.iloc[0].items()}
                status, answer = asked.ask("/api/v1/ml/predict", {"model_name": "ridge", "features": features})
                assert status == 502 and "digest" in answer["detail"], (status, answer)
                print("a model whose bytes are not those promised: refused")
        told = (work / "node.log").read_text()
        assert PASSWORD not in told and "ana:" not in told, "the log tells the password"
    print("mlflow: all as it should be")


main()

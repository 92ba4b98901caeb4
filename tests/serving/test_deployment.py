"""What serving/ holds for production: each file read by what will read it, or by its schema.

Prometheus' own cases for the rules are in serving/prometheus/rules_test.yaml.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from dataclasses import fields
from pathlib import Path

import kubernetes_validate
import promql_parser
import pytest
import yaml
from google.protobuf import text_format
from models_for_tests import write_half_plus_two
from ports_for_tests import free_port
from tensorflow_serving.config import model_server_config_pb2

from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags, parse_flags
from tfapp.serving.server import DRAIN_SECONDS, ModelServer
from tfapp.serving.text_protos import new_message

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
MANIFESTS = sorted((SERVING / "kubernetes").glob("*/*.yaml"))
CONFIGS = ("models", "batching", "monitoring")
MOUNTED = "/etc/model-server"
KUBERNETES = ("1.27", "1.37")

# Source: TensorFlow Serving's metrics, with the labels of each; `le` is of the buckets.
METRICS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:request_latency_bucket": {"model_name", "API", "entrypoint", "le"},
    ":tensorflow:serving:runtime_latency_bucket": {"model_name", "API", "runtime", "le"},
    ":tensorflow:serving:request_example_count_total": {"model"},
    ":tensorflow:serving:batching_session:queuing_latency_bucket": {"thread_pool_name", "le"},
    ":tensorflow:serving:batching_session:processed_batch_size_sum": set(),
    ":tensorflow:serving:batching_session:processed_batch_size_count": set(),
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
    # Prometheus gives all of a server's the label `instance`.
    ":tfapp:serving:versions": {"model_name", "state", "instance"},
    "up": {"job", "instance"},
}


def documents(path):
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def found(kind):
    return [d for path in MANIFESTS for d in documents(path) if d["kind"] == kind]


def read(name, empty):
    return text_format.Parse((SERVING / f"{name}.config").read_text(encoding="utf-8"), empty)


def test_the_models_are_listed_as_the_server_reads_them():
    config = read("models", model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("digits-mlp", "/models/digits-mlp")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 2


def test_batching_and_monitoring_are_what_the_server_reads():
    batching = read("batching", new_message("BatchingParameters"))
    assert 0 < batching.batch_timeout_micros.value < 10_000
    assert batching.max_batch_size.value == 256, "rows of a request of tfapp predict"
    assert not batching.allowed_batch_sizes or (
        batching.allowed_batch_sizes[-1] == batching.max_batch_size.value
    )
    monitoring = read("monitoring", new_message("MonitoringConfig")).prometheus_config
    assert (monitoring.enable, monitoring.path) == (True, "/monitoring/prometheus/metrics")


def test_the_embedded_server_starts_as_compose_starts_it(tmp_path):
    write_half_plus_two(tmp_path / "models" / "digits-mlp" / "1")
    for name in CONFIGS:
        text = (SERVING / f"{name}.config").read_text(encoding="utf-8")
        text = text.replace('"/models/', f'"{tmp_path}/models/')
        (tmp_path / f"{name}.config").write_text(text, encoding="utf-8")
    (compose,) = documents(SERVING / "compose.yaml")
    command = compose["services"]["embedded"]["command"]
    ports = [f"--port={free_port()}", f"--rest_api_port={(rest := free_port())}"]
    words = [word.replace(MOUNTED, str(tmp_path)) for word in command]
    flags, others = parse_flags([*words, *ports])
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert (server.start(lambda: False), others) == (True, ())
        url = f"http://localhost:{rest}"
        body = b'{"instances": [1.0, 2.0]}'
        with urllib.request.urlopen(f"{url}/v1/models/digits-mlp:predict", body) as answer:
            assert json.load(answer) == {"predictions": [2.5, 3.0]}
        with urllib.request.urlopen(f"{url}/monitoring/prometheus/metrics") as answer:
            assert b"batching_session:wrapped_run_count{} 1\n" in answer.read()
    finally:
        server.close()


def test_settings_in_comments_may_be_uncommented():
    for name, empty in [
        ("models", model_server_config_pb2.ModelServerConfig()),
        ("batching", new_message("BatchingParameters")),
    ]:
        text = (SERVING / f"{name}.config").read_text(encoding="utf-8")
        text_format.Parse(re.sub(r"# (\w+(:| \{) .*)", r"\1", text), empty)
    assert empty.allowed_batch_sizes == [64, 256]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(SERVING)))
def test_manifests_are_what_kubernetes_takes(path, version):
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)
        with pytest.raises(kubernetes_validate.ValidationError):  # unknown keys are seen
            kubernetes_validate.validate({**document, "sepc": {}}, version, strict=True)


def test_the_config_map_holds_the_files_word_for_word():
    (config,) = found("ConfigMap")
    assert config["data"] == {
        f"{name}.config": (SERVING / f"{name}.config").read_text("utf-8") for name in CONFIGS
    }


@pytest.fixture(params=found("Deployment"), ids=lambda d: image_of(d))
def deployment(request):
    return request.param


def image_of(deployment):
    return container_of(deployment)["image"].split(":")[0].split("/")[-1]


def container_of(deployment):
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


def test_a_deployment_fits_what_stands_around_it(deployment):
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (budget,) = found("PodDisruptionBudget")
    selectors = [each["spec"]["selector"]["matchLabels"] for each in (deployment, budget)]
    selectors += [service["spec"]["selector"] for service in found("Service")]
    assert all(selector.items() <= labels.items() for selector in selectors)
    (autoscaler,) = found("HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"], "each kubectl apply would undo the autoscaler"
    container = container_of(deployment)
    assert "cpu" in container["resources"]["requests"], "what the autoscaler measures by"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    wanted = {p["targetPort"] for service in found("Service") for p in service["spec"]["ports"]}
    assert wanted == set(ports)
    pod = deployment["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    (claim,) = found("PersistentVolumeClaim")
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (config,) = found("ConfigMap")
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]


def test_a_pod_ends_after_its_requests(deployment):
    container = container_of(deployment)
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    (_, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    own = DRAIN_SECONDS if image_of(deployment) == "model-server" else 0
    assert int(seconds) + own < grace


def test_nobody_is_root(deployment):
    pod, container = deployment["spec"]["template"]["spec"], container_of(deployment)
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert re.search(r":\d+\.\d+\.\d+$", container["image"]), "a version, not latest"


def dockerfile():
    text = (SERVING / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and line[0] not in "#"]
    return [(word, rest.strip()) for word, rest in lines]


def commands():
    """Every command that starts a server, as words."""
    services = documents(SERVING / "compose.yaml")[0]["services"].values()
    yield from ([*s.get("entrypoint", []), *s["command"]] for s in services)
    for each in map(container_of, found("Deployment")):
        yield [*each.get("command", []), *each["args"]]
    instructions = dict(dockerfile())
    yield json.loads(instructions["ENTRYPOINT"]) + json.loads(instructions["CMD"])


def test_servers_are_started_with_flags_that_there_are_and_files_that_are_mounted():
    known = {field.name for field in fields(Flags)} | {"server"}
    seen = set()
    for words in commands():
        flags = [word.removeprefix("--").split("=") for word in words if word.startswith("--")]
        assert {name for name, _ in flags} <= known
        files = {value for _, value in flags if value.startswith("/")}
        assert files <= {f"{MOUNTED}/{name}.config" for name in CONFIGS}
        seen |= files
    assert len(seen) == len(CONFIGS)


def test_the_image_is_pinned_runs_as_nobody_and_passes_signals_on():
    instructions = dockerfile()
    bases = [rest.split(" AS ")[0] for word, rest in instructions if word == "FROM"]
    assert all(re.fullmatch(r"python:3\.12\.\d+-slim-bookworm", base) for base in bases)
    assert ("USER", "${USER_ID}:${USER_ID}") in instructions
    assert ("ARG", "USER_ID=10001") in instructions
    last = dict(instructions)
    for word in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last[word]), list), "the exec form: no shell in between"
    addresses = re.findall(r"\w+://([\w.]+)", (SERVING / "Dockerfile").read_text("utf-8"))
    assert set(addresses) == {"localhost"}
    for word, rest in instructions:
        if word == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest


def compose_errors(path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def test_the_compose_file_is_one(tmp_path):
    assert compose_errors(SERVING / "compose.yaml") == ""
    wrong = tmp_path / "compose.yaml"
    text = (SERVING / "compose.yaml").read_text(encoding="utf-8")
    wrong.write_text(text.replace("healthcheck:", "healtcheck:"), encoding="utf-8")
    assert "healtcheck" in compose_errors(wrong)
    services = documents(SERVING / "compose.yaml")[0]["services"]
    assert set(services) == {"tensorflow-serving", "embedded"}
    for service in services.values():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), "nobody else may ask"
        for volume in service["volumes"]:
            assert (SERVING / volume.split(":")[0]).exists()
            assert volume.endswith(":ro")
    assert services["embedded"]["stop_grace_period"] == "30s" > f"{DRAIN_SECONDS:.0f}s"


def rules():
    (content,) = documents(SERVING / "prometheus" / "rules.yaml")
    assert content.keys() == {"groups"}
    for group in content["groups"]:
        assert group.keys() == {"name", "rules"}
        yield from group["rules"]


def test_rules_are_well_formed():
    for rule in rules():
        if "record" in rule:
            assert rule.keys() == {"record", "expr"}
            assert re.fullmatch(r"\w+(:\w+){2}", rule["record"]), "level:metric:operations"
        else:
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert rule["annotations"].keys() <= {"summary", "description"}
            promql_parser.parse_duration(rule.get("for", "1s"))


def test_rules_ask_for_metrics_and_labels_that_there_are():
    known = dict(METRICS)
    for rule in rules():
        expression = promql_parser.parse(rule["expr"])
        labels = set()

        def visit(node, labels=labels, rule=rule):
            if isinstance(node, promql_parser.VectorSelector):
                assert node.name in known, rule
                asked = {matcher.name for matcher in node.matchers.matchers}
                assert asked <= known[node.name], rule
                labels |= known[node.name]
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
                rule.setdefault("by", set()).update(node.modifier.labels)

        promql_parser.walk(expression, visit)
        assert rule.get("by", set()) <= labels, rule
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule.get("annotations", {}))))
        assert shown <= labels, rule
        if "record" in rule:
            known[rule["record"]] = rule.get("by", labels)


def test_the_health_check_of_compose_and_the_probes_ask_for_what_is_answered():
    """The paths are asked for in test_deployment_clients.py, of a server."""
    paths = {
        probe["httpGet"]["path"]
        for each in map(container_of, found("Deployment"))
        for name, probe in each.items()
        if name.endswith("Probe") and "httpGet" in probe
    }
    assert paths == {"/readyz", "/healthz", "/v1/models/digits-mlp"}
    check = shlex.join(
        documents(SERVING / "compose.yaml")[0]["services"]["tensorflow-serving"]["healthcheck"][
            "test"
        ]
    )
    assert "/v1/models/digits-mlp" in check

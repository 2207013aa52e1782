"""What stands in deploy/ fits the server: its options, routes, metrics, times and rights.

Schemas are the matter of `make deploy-check`; here the files are compared with the code.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.launch import script_name
from runtime.serve import KEY_VARIABLE, make_parser
from runtime.serving.metrics import PREFIX
from runtime.serving.speaking import Phase
from runtime.speech.synthesis import TTS
from tests.project import PROJECT
from tests.runtime.serving.conftest import serving
from tests.runtime.tiny_bundle import Scenario, write_bundle

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXTRAS = PROJECT["optional-dependencies"]
FINAL = {  # Dockerfile -> its last stages
    "Dockerfile": ("cpu", "gpu"),
    "Dockerfile.jetson": ("jetpack6", "jetpack7"),
}
IMAGES = [(file, stage) for file, stages in FINAL.items() for stage in stages]
COMPILERS = ("gcc", "g++", "clang", "ziglang", "build-essential", "apt-get")


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Words and what follows them, without comments and with continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word, rest) for word, _, rest in (ln.partition(" ") for ln in joined.split("\n") if ln)
    ]


def stages(file: str = "Dockerfile") -> dict[str, list[tuple[str, str]]]:
    """Instructions of each stage of a Dockerfile, those of the stage that it continues first."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions((DEPLOY / file).read_text()):
        if word == "FROM":
            base, name = rest.split(" AS ")
            found[name] = [*found.get(base, [])]
        elif name:
            found[name].append((word, rest))
    return found


def documents(name: str) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all((DEPLOY / name).read_text())]


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = documents("kubernetes/server.yaml")[0]["spec"]["template"]["spec"]
    return spec


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize(("file", "stage"), IMAGES)
def test_the_last_stage_has_no_compiler_and_no_root(file: str, stage: str) -> None:
    told = stages(file)[stage]
    assert ("USER", "10001:10001") in told
    built = [rest for word, rest in told if word == "RUN"]
    assert not [name for name in COMPILERS for line in built if name in line]
    copied = [rest for word, rest in told if word == "COPY"]
    assert copied == [f"--from={stage}-packages /app /app"], "packages, and nothing of the tools"


@pytest.mark.parametrize(("file", "stage"), IMAGES)
def test_the_image_starts_the_server(file: str, stage: str) -> None:
    told = dict(stages(file)[stage])
    assert told["ENTRYPOINT"] == f'["{script_name("runtime.serve")}"]'
    arguments = make_parser().parse_args(yaml.safe_load(told["CMD"]))
    assert (arguments.host, arguments.port) == ("0.0.0.0", int(told["EXPOSE"]))


@pytest.mark.parametrize("stage", FINAL["Dockerfile.jetson"])
def test_images_for_jetsons_see_the_tensorrt_of_their_base(stage: str) -> None:
    told = stages("Dockerfile.jetson")[f"{stage}-packages"]
    [install] = [rest for word, rest in told if word == "RUN" and " pip install " in rest]
    assert "-m venv --system-site-packages /app" in install
    assert 'find_spec("tensorrt")' in install, "an image without it is not made"
    [extras] = re.findall(r'"\.\[([a-z0-9,]+)\]"', install)
    assert {"export", "serve", stage} <= {*extras.split(",")} <= {*EXTRAS}
    assert "tensorrt" not in extras, "the base image has it"


@pytest.mark.parametrize("file", FINAL)
def test_what_is_copied_is_sent_to_the_builder(file: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines, "nothing but what is named"
    for word, rest in instructions((DEPLOY / file).read_text()):
        if word == "COPY" and not rest.startswith("--from"):
            sources = rest.split()[:-1]
            assert {*sources} - {"."} <= sent, rest
    assert all((ROOT / name).exists() for name in sent)


def test_the_builder_gets_all_that_a_wheel_is_made_of(tmp_path: Path) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = set(listed.stdout.splitlines())
    sent = {line[1:] for line in lines if line.startswith("!")}
    for name in tracked:
        if any(fnmatch(name, one) or name.startswith(f"{one}/") for one in sent):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        "wheels",
        ".",
    ]
    made = subprocess.run(pip, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert len([*(tmp_path / "wheels").glob("slm_deploy-*.whl")]) == 1


def test_the_health_check_of_the_image_asks_the_server(tmp_path: Path) -> None:
    check = dict(stages()["cpu"])["HEALTHCHECK"]
    [python, option, program] = yaml.safe_load(check.partition(" CMD ")[2])
    assert (python, option) == ("python", "-c")
    port = dict(stages()["cpu"])["EXPOSE"]

    def status(url: str) -> int:
        here = program.replace(f"http://127.0.0.1:{port}", url)
        assert url in here
        return subprocess.run([sys.executable, "-c", here], stderr=subprocess.DEVNULL).returncode

    engine = write_bundle(tmp_path / "engine", Scenario(heads=12))
    with serving(TTS.load(engine, threads=1)) as served:
        assert status(served.url) == 0
        served.app.state.speaking.phase = Phase.BROKEN
        assert status(served.url) == 1
    assert status(served.url) == 1, "there is nobody"


@pytest.mark.parametrize("name", ["server", "server-gpu", "server-jetson"])
def test_compose_starts_a_server_without_rights(name: str) -> None:
    service = documents("compose.yaml")[0]["services"][name]
    arguments = make_parser().parse_args(service["command"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert seconds(service["stop_grace_period"]) > arguments.drain
    assert f":{arguments.engine}:ro" in service["volumes"][0]
    assert service["volumes"][1].endswith(f":{arguments.voices_dir}")
    assert KEY_VARIABLE in service["environment"]
    assert service["ports"][0].startswith("127.0.0.1:"), "others are let in by a proxy"
    build = service["build"]
    target = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", build["target"])  # a variable's default
    assert target in FINAL[Path(build["dockerfile"]).name]


def test_pods_start_a_server_without_rights() -> None:
    [container] = pod()["containers"]
    arguments = make_parser().parse_args(container["args"])
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts[str(arguments.engine.parent)]["readOnly"]
    assert str(arguments.api_key_file.parent) in mounts
    assert "/tmp" in mounts
    assert arguments.threads == int(container["resources"]["requests"]["cpu"])
    assert container["ports"][0]["containerPort"] == arguments.port
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod()["securityContext"]["runAsNonRoot"]
    user = pod()["securityContext"]
    assert ("USER", f"{user['runAsUser']}:{user['runAsGroup']}") in stages()["cpu"]


def test_pods_end_after_their_last_listener() -> None:
    [container] = pod()["containers"]
    arguments = make_parser().parse_args(container["args"])
    [_, pause] = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod()["terminationGracePeriodSeconds"] > int(pause) + arguments.drain
    ready = container["readinessProbe"]
    assert int(pause) > ready["periodSeconds"] * 3, "by then no new texts come"


def test_probes_ask_what_the_server_answers() -> None:
    [container] = pod()["containers"]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness")
    }
    assert {*paths.values()} == {"/ready"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"


@pytest.mark.parametrize("name", ["metrics-rule.yaml", "keda.yaml"])
def test_autoscalers_ask_for_a_metric_that_is_there(name: str) -> None:
    text = (DEPLOY / "kubernetes" / name).read_text()
    asked = {*re.findall(rf"{PREFIX}_\w+_bucket", text)}
    assert asked == {f"{PREFIX}_request_queue_time_seconds_bucket"}


def test_the_autoscaler_asks_for_what_the_rule_makes() -> None:
    [scaler] = documents("kubernetes/autoscaler.yaml")
    [rule] = documents("kubernetes/metrics-rule.yaml")[0]["rules"]["custom"]
    [metric] = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "slm-serve"
    assert shlex.split(rule["seriesQuery"])

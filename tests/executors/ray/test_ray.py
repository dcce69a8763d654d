"""Ray in place of worker processes, on a cluster of two nodes on this machine; one for all of this file."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.executors import family
from discovery.app.command_line import main
from discovery.core.errors import BadInput, ExecutorError
from discovery.executors.ray.cluster import Ray
from discovery.executors.ray.messages import LOOPBACK, QUIET, Cluster
from tests.executors.conftest import ROOT, wait_gone
from tests.executors.fakes import RUN_CHUNK, job, key
from tests.executors.test_executors import assert_numbers_and_calls_are_those_of_inline

TWO_NODES = """
import sys
import tempfile
from ray.cluster_utils import Cluster

node = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 80 * 2**20}
node["resources"] = {"accelerator_type:H200": 1}
there = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
there.add_node(**node)
print("address", there.address, flush=True)
sys.stdin.read()
there.shutdown()
"""
"""In a process of its own: it forks, which one that has used jax should not. Nobody trains on its GPUs: there
are none."""


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A file with a token, which everything in this module that has to do with Ray is told of."""
    path = tmp_path_factory.mktemp("ray") / "token"
    path.write_text("7" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
        yield path


@pytest.fixture(scope="module")
def address(token):
    environment = os.environ | LOOPBACK | QUIET | {"OPENAI_API_KEY": "hunter2"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", TWO_NODES], env=environment, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        yield next(line.split()[1] for line in process.stdout if line.startswith("address"))
        process.stdin.close()
        process.wait(60)


@pytest.fixture(scope="module")
def executor(address):
    with Ray(2, 3, 60.0, address=address, function=RUN_CHUNK) as executor:
        yield executor


def by_id(results):
    return {result.id: result for result in results}


@pytest.mark.slow
def test_the_doctor_looks_at_ray(address, capsys):
    """First of all, while nobody else is there: it wants a worker on each core."""
    assert main(["doctor", "--ray", "--address", address]) == 0
    assert f"at {address}: 2 nodes, 4 cores, 2 GPUs" in capsys.readouterr().out


def test_the_numbers_and_the_calls_are_those_of_any_executor(executor, tmp_path):
    for result in assert_numbers_and_calls_are_those_of_inline(executor, tmp_path):
        assert result.worker.startswith("ray/") and result.worker.endswith(" cpu 127.0.0.1")


def test_workers_are_spread_over_the_nodes(executor):
    assert executor.cluster[1:] == (2, 4, (1, 1), ("H200",))
    assert len(executor.start_workers(60.0)) == 2
    results = list(executor.run([job(index, seconds=0.5) for index in range(9)]))
    workers, utilization = executor.worker_use()
    assert workers == 2 and 0.05 < utilization < 1
    assert {result.worker.split()[0] for result in results} == {"ray/0", "ray/1"}
    assert len(set(executor.pids())) == 2


def test_a_worker_that_is_killed_in_a_run_or_between_runs_is_replaced(executor, tmp_path):
    marker = str(tmp_path / "died")
    first = by_id(executor.run([job(0, "die_once", marker=marker), job(1, marker=marker), job(2)]))
    assert {result.error for result in first.values()} == {None}
    assert [first[key(index)].attempts for index in range(3)] == [2, 2, 1]
    victim = executor.pids()[0]
    os.kill(victim, signal.SIGKILL)
    time.sleep(1.0)
    again = by_id(executor.run([job(0), job(1), job(2)]))
    assert {id: result.outcome.score for id, result in again.items()} == {
        id: result.outcome.score for id, result in first.items()
    }
    assert victim not in executor.pids()


def test_leaving_early_ends_the_work(executor):
    assert len(executor.start_workers(60.0)) == 2
    for _ in executor.run([job(index, seconds=0.0 if index < 3 else 100.0) for index in range(6)]):
        break
    began = time.monotonic()
    assert len(list(executor.run([job(0)]))) == 1
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_what_hangs_is_stopped_and_fails_alone(address):
    with Ray(1, 2, 1.5, address=address, function=RUN_CHUNK) as executor:
        results = by_id(executor.run([job(0, "hold_lock"), job(1)]))
    assert (results[key(0)].error, results[key(0)].attempts) == ("timeout", 3)
    assert results[key(1)].error is None


def test_workers_have_one_thread_no_secrets_and_a_share_of_a_gpu_where_it_is_theirs(address, tmp_path):
    """Nodes have a secret in their environment. Their GPUs are made up; what is told of them is not."""
    function, options = "tests.executors.fakes:environment_chunk", {"gpu_workers": 2, "gpus_per_worker": 0.5}
    with Ray(1, 1, address=address, function=function, **options) as executor:
        executor.start_workers(60.0)
        jobs = [job(n, log=str(tmp_path / f"{n}"), seconds=1.0) for n in range(3)]
        results = list(executor.run(jobs))
    assert {result.error for result in results} == {None}
    found = {}
    for result in results:
        lines = (tmp_path / f"{result.id.seed}").read_text().splitlines()
        found[result.worker.split()[0]] = dict(line.partition("=")[::2] for line in lines)
    for one in found.values():
        assert {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1"}.items() <= one.items()
        assert "OPENAI_API_KEY" not in one and "hunter2" not in one.values()
        assert not any("TOKEN" in name for name in one)
    on_cores = found.pop("ray/2")
    assert on_cores["JAX_PLATFORMS"] == "cpu" and "XLA_CLIENT_MEM_FRACTION" not in on_cores
    assert set(found) == {"ray/0", "ray/1"}
    share = {"JAX_PLATFORMS": "cuda,cpu", "XLA_CLIENT_MEM_FRACTION": "0.450", "CUDA_VISIBLE_DEVICES": "0"}
    for one in found.values():
        assert share.items() <= one.items() and one["XLA_PYTHON_CLIENT_MEM_FRACTION"] == ""


@pytest.mark.slow
def test_a_worker_that_cannot_begin_leaves_its_place(address):
    """One that raised is no process that died: unless it is ended, two of them have taken the two GPUs."""
    function = "tests.executors.no_backend:run_chunk"
    with Ray(None, 1, address=address, gpu_workers=1, function=function) as executor:
        executor.patience = 30.0
        with pytest.raises(ExecutorError, match=r"before they can work .*Unable to initialize backend"):
            list(executor.run([job(0)]))


@pytest.mark.slow  # Ray tries for 20 s
def test_a_cluster_with_a_token_lets_nobody_in_without_it(address, token, tmp_path, monkeypatch):
    wrong = tmp_path / "token"
    wrong.write_text("8" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(wrong))
    executor = Ray(1, address=address)
    with pytest.raises(BadInput, match=r"no Ray cluster can be joined.*RAY_AUTH_MODE is token"), executor:
        raise AssertionError
    executor.close()


@pytest.mark.slow  # a cluster of its own, and 20 s of trying
def test_auto_shows_the_token_of_this_machine_and_an_address_only_when_told(token, monkeypatch):
    """As Ray itself does. A head that is started where there is a token asks for it, whatever is set."""
    monkeypatch.delenv("RAY_AUTH_MODE")
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=1"]
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # a socket's path is short
        monkeypatch.setenv("RAY_TMPDIR", folder)
        ray = [str(Path(sys.executable).with_name("ray")), "start", *options, "--include-dashboard=false"]
        with subprocess.Popen(ray, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as head:
            try:
                assert head.stdout is not None
                assert any("Ray runtime started" in line for line in head.stdout)
                with Ray(1, address="auto") as executor:
                    assert executor.cluster == Cluster(f"127.0.0.1:{port}", 1, 1, (0,))
                refused = pytest.raises(BadInput, match="somebody listens")
                with refused, Ray(1, address=f"127.0.0.1:{port}"):
                    raise AssertionError
            finally:
                head.terminate()


def test_workers_come_with_nodes_and_go_with_them(address, executor):
    with Ray(None, address=address, function=RUN_CHUNK) as elastic:
        there = elastic.cluster
        assert there is not None and elastic.workers == 4
        elastic._resize(there._replace(nodes=3, cpus=6))
        assert elastic.workers == 6
        elastic._resize(there._replace(nodes=0, cpus=0))
        assert elastic.workers == 1  # who waits for the next node
    executor._resize(there._replace(cpus=6))
    assert executor.workers == 2
    executor._resize(there)


def test_room_for_workers_with_gpus():
    there = Cluster("host:1", 3, 50, (0, 1, 4))
    assert [there.room(share) for share in (1.0, 0.5, 0.2, 0.1, 1 / 3, 0.6)] == [5, 10, 25, 50, 15, 5]
    assert [there.room(gpus) for gpus in (2.0, 4.0, 5.0)] == [2, 1, 0]
    assert there._replace(cpus=3).room(0.5) == 3  # each needs a core too


@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_alone_has_no_secrets_and_ends_with_us(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    with Ray(1, 2, function=RUN_CHUNK) as executor:
        (result,) = executor.run([job(0)])
        assert result.error is None
        children = family(executor._bridge.process.pid)
        assert {"gcs_server", "raylet", "ray::RayWorker"} <= set(children.values())
        for pid in children:
            assert b"hunter2" not in _read(f"/proc/{pid}/environ")
        listening = _listening(children.keys())
        assert listening and listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert wait_gone(children, 20.0)


def test_a_ray_of_our_own_is_waited_for_where_there_is_work_and_ends_at_once_before():
    with Ray(1, 2, function=RUN_CHUNK) as executor:
        time.sleep(1.5)
        children = family(executor._bridge.process.pid)
        executor._until = 0.0
        with pytest.raises(ExecutorError, match="did not come up"):
            list(executor.run([job(0)]))
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert wait_gone(children, 20.0)


@pytest.mark.parametrize("given", ["the address", pytest.param("auto", marks=pytest.mark.slow)])
def test_where_no_cluster_is(given, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)  # as a cluster that has ended leaves it behind
    executor = Ray(1, address="auto" if given == "auto" else address)
    with pytest.raises(BadInput, match=r"no Ray cluster can be joined.*refused"), executor:
        raise AssertionError
    executor.close()


@pytest.mark.slow
def test_the_recipe_for_cloud_machines_is_one_that_ray_accepts():
    code = """
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
config = prepare_config(yaml.safe_load(open("docs/cluster/aws.yaml")))
validate_config(config)
nodes = config["available_node_types"]
image, = {node["node_config"]["ImageId"] for node in nodes.values()}
assert "ubuntu/server/24.04" in image and config["rsync_filter"] == [".gitignore"]
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def _listening(pids: Iterable[int]) -> set[str]:
    """Addresses on which processes listen for TCP connections."""
    nodes = set()
    for pid in pids:
        try:
            nodes |= {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        except OSError:
            continue
    found = set()
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in _read(f"/proc/net/{table}").decode().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in nodes:
                raw = bytes.fromhex(fields[1].split(":")[0])
                words = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
                found.add(socket.inet_ntop(kind, words))
    return found


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

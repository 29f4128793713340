"""A real agent of this machine's architecture: what it computes, and what it takes from here."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reefl_edge import schema
from reefl_edge.agent.agent import MANIFEST_NAME, Agent, AgentManifest
from reefl_edge.agent.archive import contents_of
from reefl_edge.agent.building import build_agent
from reefl_edge.agent.sources import AptSources, DevicePython
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.jobs.job import Plan
from reefl_edge.jobs.outcome import Measured, read_outcome
from reefl_edge.jobs.running import WORKER
from reefl_edge.jobs.sources import BundleFolder
from reefl_edge.profiling.measure import inference_jobs
from tests.agent import answers
from tests.built_agents import built_agent, run_agent

FEW = Plan(warmup_runs=1, min_samples=3, min_seconds=0, max_seconds=60)
ANSWERS = Path(answers.__file__)
MKSH = Path("/bin/mksh-static")  # Debian's package mksh: Android's shell, without libraries

# A shell that tunes everything, and leads astray whoever looks for libraries or modules.
HOSTILE = {
    "LD_LIBRARY_PATH": "/nowhere",
    "LD_PRELOAD": "",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "7",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
}


def answer_here(bundle: Bundle, data: Path, out: Path) -> None:
    """Answer in a process of its own: this one's sessions share a pool of threads."""
    subprocess.run([sys.executable, *map(str, (ANSWERS, bundle.directory, data, out))], check=True)


def check_same(expected: Path, actual: Path) -> None:
    with np.load(expected) as ours, np.load(actual) as theirs:
        assert set(ours) == set(theirs)
        assert len(set(ours["exit_indices"])) > 1
        for name, array in ours.items():
            np.testing.assert_array_equal(theirs[name], array, err_msg=name)


def test_an_agent_answers_and_trains_as_this_machine_does(
    agent: Agent, trainable: Bundle, data: Path, tmp_path: Path
) -> None:
    answer_here(trainable, data, tmp_path / "here.npz")

    run_agent(agent, "-c", ANSWERS.read_text(), trainable.directory, data, tmp_path / "there.npz")

    check_same(tmp_path / "here.npz", tmp_path / "there.npz")


def test_a_worker_in_an_agent_does_a_job(agent: Agent, trainable: Bundle) -> None:
    source = BundleFolder.of(trainable.directory)
    job = inference_jobs(trainable.manifest.submodel, source, runtime="onnx", threads=1, plan=FEW)[
        -1
    ]

    written = run_agent(
        agent, "-m", WORKER, f"{source.sha256}={trainable.directory}",
        stdin=schema.to_json(job).encode(),
    )  # fmt: skip

    outcome = read_outcome(written, source="the agent")
    assert isinstance(outcome, Measured)
    assert len(outcome.measurement.latency_ms_samples) == 3


def test_nothing_of_this_machine_gets_into_an_agent(agent: Agent) -> None:
    code = (
        "import json, os, sys, tempfile, reefl_edge.jobs.worker, reefl_edge.runtimes.onnx\n"
        "from pathlib import Path\n"
        "mapped = {line.split()[-1] for line in open('/proc/self/maps') if '/' in line}\n"
        "print(json.dumps({'environment': sorted(os.environ), 'mapped': sorted(mapped),\n"
        "  'path': sys.path, 'files': [tempfile.gettempdir(), str(Path.home())],\n"
        "  'executable': sys.executable}))\n"
    )
    argv = [str(agent.folder / "run"), "-c", code]
    ran = subprocess.run(argv, env={**os.environ, **HOSTILE}, capture_output=True, check=True)
    found = json.loads(ran.stdout)

    inside = str(agent.folder)
    for key in ("path", "files"):
        assert [each for each in found[key] if not each.startswith(inside)] == []
    assert [each for each in found["mapped"] if not each.startswith(inside)] == []
    assert found["executable"] == f"{inside}/run"
    assert set(found["environment"]) == {
        "HOME", "LC_ALL", "ORT_DISABLE_TELEMETRY", "PATH", "PYDANTIC_DISABLE_PLUGINS", "TMPDIR",
        "TZ",
    }  # fmt: skip


def test_every_module_that_an_agent_carries_loads_there_but_for_torch(agent: Agent) -> None:
    code = (
        "import importlib, pkgutil, reefl_edge\n"
        "for module in pkgutil.walk_packages(reefl_edge.__path__, 'reefl_edge.'):\n"
        "    try: importlib.import_module(module.name)\n"
        "    except ModuleNotFoundError as error: assert error.name == 'torch', module\n"
    )

    run_agent(agent, "-c", code)


def test_python_started_by_an_agent_is_the_agent(agent: Agent) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import numpy, sys; print(sys.prefix)'], check=True)"
    )

    assert run_agent(agent, "-c", code).decode().strip() == str(agent.folder)


def test_an_agent_is_small_and_what_it_says(agent: Agent, tmp_path: Path) -> None:
    manifest = schema.read_json(AgentManifest, agent.folder / MANIFEST_NAME)
    files = [path for path in agent.folder.rglob("*") if not path.is_dir()]

    assert agent.size_bytes < 120e6
    assert agent.archive.stat().st_size == agent.archive_bytes < 45e6
    assert not any(path.is_symlink() for path in files)
    assert not [path for path in files if path.suffix == ".py"]
    assert manifest.source == "apt"
    assert {"numpy", "onnxruntime", "reefl-edge"} <= set(manifest.packages)
    assert manifest.system_packages["libc6"]
    shutil.copytree(agent.folder, tmp_path / "copy", copy_function=os.link)
    (tmp_path / "copy" / MANIFEST_NAME).unlink()
    assert contents_of(tmp_path / "copy").sha256 == manifest.contents_sha256


def test_the_archive_runs_wherever_it_is_unpacked(agent: Agent, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", agent.archive, "-C", folder], check=True)

    code = "import numpy, reefl_edge, importlib.metadata as m; print(m.version('reefl-edge'))"
    ran = subprocess.run(["sh", "run", "-c", code], cwd=folder, capture_output=True, check=True)

    assert ran.stdout.decode().strip() == agent.manifest.packages["reefl-edge"]


def test_an_agent_on_a_devices_python_does_a_job(
    pytestconfig: pytest.Config, trainable: Bundle, data: Path, tmp_path: Path
) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    agent = built_agent(pytestconfig, DevicePython(version))
    answer_here(trainable, data, tmp_path / "here.npz")

    run_agent(
        agent, "-c", ANSWERS.read_text(), trainable.directory, data, tmp_path / "there.npz",
        REEFL_EDGE_PYTHON=sys.executable,
    )  # fmt: skip

    check_same(tmp_path / "here.npz", tmp_path / "there.npz")


@pytest.mark.slow
def test_built_again_an_agent_is_the_same(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path))

    again = build_agent(agent.arch, AptSources())

    assert again.folder != agent.folder
    assert again.sha256 == agent.sha256


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root folder")
@pytest.mark.skipif(not MKSH.exists(), reason="not installed: mksh")
def test_an_agent_needs_nothing_of_a_phone_but_a_shell(
    agent: Agent, trainable: Bundle, data: Path, tmp_path: Path
) -> None:
    root = bare_root(tmp_path / "root")
    there = root / "data" / "local" / "tmp"
    with tarfile.open(agent.archive) as tar:
        tar.extractall(there / "agent", filter="data")
    shutil.copytree(trainable.directory, there / "bundle")
    shutil.copy(data, there / "data.npz")
    for path in (there, *there.rglob("*")):
        os.chown(path, 2000, 2000)
    answer_here(trainable, data, tmp_path / "here.npz")

    in_root(
        root,
        ["sh", "agent/run", "-c", ANSWERS.read_text(), "bundle", "data.npz", "answers.npz"],
    )

    check_same(tmp_path / "here.npz", there / "answers.npz")


def bare_root(root: Path) -> Path:
    """Make a root as bare as a phone's: a shell and ``env``, no /bin, /etc, /lib, /tmp or /usr."""
    for name in ("system/bin", "system/lib64", "data/local/tmp", "dev", "proc"):
        (root / name).mkdir(parents=True)
    shutil.copy(MKSH, root / "system" / "bin" / "sh")
    env = shutil.which("env") or "env"
    listed = subprocess.run(["ldd", env], capture_output=True, text=True, check=True).stdout
    libraries = [word for word in listed.split() if word.startswith("/")]
    for path in (env, *libraries):
        shutil.copy(path, root / "system" / "lib64")
    (loader,) = (Path(path).name for path in libraries if Path(path).name.startswith("ld-"))
    script = root / "system" / "bin" / "env"
    script.write_text(
        "#!/system/bin/sh\n"
        f'exec /system/lib64/{loader} --library-path /system/lib64 /system/lib64/env "$@"\n'
    )
    script.chmod(0o755)
    return root


def in_root(root: Path, argv: Sequence[str]) -> None:
    """Run a program in a root, as the user 2000 of a phone's shell."""
    mounts = (
        'mount -t proc proc "$0/proc" && for n in null urandom; do : > "$0/dev/$n" && '
        'mount --bind /dev/$n "$0/dev/$n" || exit; done && exec env -i PATH=/system/bin '
        'LD_LIBRARY_PATH=/system/lib64 /usr/sbin/chroot --userspec=2000:2000 "$0" /system/bin/sh '
        '-c \'cd /data/local/tmp && exec "$@"\' sh "$@"'
    )
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounts, str(root), *argv], capture_output=True
    )
    assert ran.returncode == 0, ran.stderr.decode()

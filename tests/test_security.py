"""What files of others can make us do: nothing but be read or refused, within bounds, where they were named."""

import ast
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  # lists the fonts of a machine once, for which it starts fc-list
import pytest
import torch
from checkpoints import codi_state, edit_json, tiny_llama, write_base, write_peft, write_state
from faults import hostile
from faults.forks import DONE, in_child

import mechpatch
from mechpatch.data import pair_path
from mechpatch.errors import CheckpointError, MechpatchError
from mechpatch.families import WEIGHTS
from mechpatch.models import load_model
from mechpatch.models.files import open_weights, read_tensors
from mechpatch.pairs import load_pairs
from mechpatch.storage.activations import ActivationCache
from mechpatch.storage.atomic import remove_stale
from mechpatch.storage.results import read_effects, read_spec

PACKAGE = Path(mechpatch.__file__ or "").parent


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A base, a PEFT adapter and a CODI checkpoint, all sound."""
    folder = tmp_path_factory.mktemp("sound")
    write_base(folder / "base", tiny_llama())
    write_peft(folder / "adapter", tiny_llama())
    write_state(folder / "codi" / "model.safetensors", codi_state(tiny_llama()))
    return folder


@pytest.fixture
def sound(made, tmp_path) -> Path:
    """A copy to be spoilt."""
    shutil.copytree(made, tmp_path / "sound")
    return tmp_path / "sound"


@pytest.mark.parametrize("make", hostile.PICKLES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
def test_no_pickle_is_run(tmp_path, make, suffix):
    file, marker = tmp_path / f"codi{suffix}", tmp_path / "ran"
    make(file, marker)
    try:
        found = read_tensors(file, torch.float32)
    except CheckpointError:
        pass
    else:  # only a sound state dict may come of it
        assert make is hostile.hidden_in_a_zip
        assert set(found) == {"weight"}
    assert not marker.exists()


def test_the_payload_would_run_if_it_were_unpickled(tmp_path):
    for make in hostile.PICKLES[:3]:
        make(tmp_path / "file", tmp_path / "ran")
        if make is hostile.plain_pickle:
            pickle.loads((tmp_path / "file").read_bytes())
        else:
            torch.load(tmp_path / "file", weights_only=False)
        assert (tmp_path / "ran").exists()
        (tmp_path / "ran").rmdir()


@pytest.mark.parametrize("place", ["base/pytorch_model.bin", "adapter/adapter_model.bin", "codi/pytorch_model.bin"])
def test_no_pickle_is_run_wherever_one_is_accepted(sound, tmp_path, place):
    file, marker = sound / place, tmp_path / "ran"
    for other in file.parent.glob("*model*.safetensors"):
        other.unlink()
    hostile.torch_zip(file, marker)
    kind = {} if place.startswith("base") else {place.split("/")[0]: file.parent}
    with pytest.raises(CheckpointError, match=f"{file.name}: cannot be read as a plain state dict"):
        load_model(sound / "base", device="cpu", **kind)
    assert not marker.exists()


@pytest.mark.parametrize("make", hostile.BOMBS, ids=lambda make: make.__name__)
def test_what_would_grow_is_refused(tmp_path, make):
    make(tmp_path / "codi.bin", tmp_path / "ran")
    with pytest.raises(CheckpointError, match=r"codi.bin: cannot be read as a plain state dict"):
        read_tensors(tmp_path / "codi.bin", torch.float64)


@pytest.mark.parametrize("claimed", [2**60, 2**63, 2**64 - 1, 2 * 10**8, 10**9])
def test_a_header_that_claims_too_much_is_not_read(tmp_path, claimed):
    file = tmp_path / "x.safetensors"
    hostile.sparse(file, 2**31, struct.pack("<Q", claimed) + b"{")
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=r"x.safetensors: cannot be read as safetensors"):
        read_tensors(file, torch.float32)
    assert time.monotonic() - started < 5


LARGE = ["base/config.json", "base/tokenizer.json", "base/tokenizer_config.json", "base/chat_template.jinja",
         "base/special_tokens_map.json", "base/added_tokens.json", "adapter/adapter_config.json"]  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_text_file_of_ten_gigabytes_is_not_read(sound, name):
    hostile.sparse(sound / name)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{Path(name).name}: found 10737418240 bytes, expected at most"):
        load_model(sound / "base", sound / "adapter", device="cpu")
    assert time.monotonic() - started < 20


def test_an_index_of_ten_gigabytes_is_not_read(tmp_path):
    hostile.sparse(tmp_path / "model.safetensors.index.json")
    with pytest.raises(CheckpointError, match="found 10737418240 bytes"):
        open_weights(tmp_path, WEIGHTS, "a model")


def test_pairs_and_records_of_ten_gigabytes_are_not_read(tmp_path):
    for name, read in (("pairs.json", load_pairs), ("spec.json", lambda path: read_spec(path.parent))):
        hostile.sparse(tmp_path / name)
        with pytest.raises(MechpatchError, match=f"{name}: .*10737418240 bytes"):
            read(tmp_path / name)
    (tmp_path / "effects.parquet").write_bytes(b"")
    hostile.sparse(tmp_path / "effects.sha256")
    with pytest.raises(MechpatchError, match=r"effects.parquet: damaged"):
        read_effects(tmp_path)


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "{outside}", "a/../../outside.safetensors", "..", "", "x.py"]
)
def test_an_index_names_files_beside_it_alone(tmp_path, shard):
    outside = write_state(tmp_path / "outside.safetensors", {"w": torch.ones(2)})
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"weight_map": {"w": shard.format(outside=outside)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="is not the name of a file beside it"):
        open_weights(folder, WEIGHTS, "a model")


def hostile_settings(sound: Path, outside: Path) -> None:
    """Every field we know of in which a configuration can name a file, a module or a place on the network."""
    files = {name: str(outside / "tokenizer.json") for name in (
        "vocab_file", "merges_file", "spm_file", "tokenizer_config_file", "special_tokens_map_file", "gguf_file",
        "added_tokens_file", "name_or_path", "_name_or_path")}  # fmt: skip
    code = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C", "AutoTokenizer": ["evil.C", "evil.C"]}
    for folder in (sound / "base", sound / "adapter", outside):
        (folder / "evil.py").write_text(
            "import pathlib; pathlib.Path(__file__).with_name('ran').mkdir()\nclass C: pass\n"
        )
    edit_json(sound / "base" / "config.json", auto_map=code, _name_or_path=str(outside), custom_pipelines={"x": "evil"})
    edit_json(sound / "base" / "tokenizer_config.json", auto_map=code, **files)
    edit_json(
        sound / "adapter" / "adapter_config.json", base_model_name_or_path=str(outside), auto_mapping=code,
        revision="https://example.org", megatron_core="evil",
        corda_config={"cache_file": str(outside / "tokenizer.json")},
    )  # fmt: skip


@pytest.mark.parametrize("kind", [{}, {"adapter": "adapter"}, {"codi": "codi"}], ids=["base", "adapter", "codi"])
def test_no_file_that_a_configuration_names_is_opened(sound, tmp_path, kind):
    outside = tmp_path / "outside"
    shutil.copytree(sound / "base", outside)
    hostile_settings(sound, outside)
    paths = {name: sound / folder for name, folder in kind.items()}

    def job() -> None:
        def load() -> None:
            with suppress(CheckpointError):  # to refuse is as good
                load_model(sound / "base", device="cpu", **paths)

        assert hostile.opened_by(load, outside) == []

    ended = in_child(job, tmp_path)
    assert ended.code == DONE, ended
    assert not list(tmp_path.rglob("ran"))


def test_an_open_elsewhere_would_be_seen(tmp_path):
    (tmp_path / "secret").write_text("x")

    def job() -> None:
        assert hostile.opened_by((tmp_path / "secret").read_text, tmp_path) == [str(tmp_path / "secret")]

    assert in_child(job, tmp_path).code == DONE


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["kernels-community/flash-attn2", "owner/kernel@main:f", "flex_attention"])
def test_a_kernel_of_the_hub_is_never_asked_for(sound, name, value):
    """transformers fetches such a kernel and runs its code, if the package for that is installed."""
    edit_json(sound / "base" / "config.json", **{name: value})
    with pytest.raises(CheckpointError, match=f"config.json: attn_implementation is '{value}'; only None or 'eager'"):
        load_model(sound / "base", device="cpu")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "megatron_config is set"),
        ({"layer_replication": [[0, 10**9]]}, "layer_replication is set"),
        ({"target_modules": "(.*)*x"}, "could take for ever"),
        ({"target_modules": ".*.*.*.*.*.*x"}, "could take for ever"),
        ({"rank_pattern": {"(a+)+b": 3}}, "could take for ever"),
    ],
)
def test_settings_of_an_adapter_that_are_no_business_of_ours(sound, entry, message):
    edit_json(sound / "adapter" / "adapter_config.json", **entry)
    with pytest.raises(CheckpointError, match=f"adapter_config.json: .*{message}"):
        load_model(sound / "base", sound / "adapter", device="cpu")


def test_an_ordinary_pattern_is_none_of_them(sound):
    edit_json(sound / "adapter" / "adapter_config.json", target_modules=r".*\.(q|k|v|o|gate|up|down)_proj")
    load_model(sound / "base", sound / "adapter", device="cpu")


@pytest.mark.parametrize("entries", [{"num_hidden_layers": 10**9}, {"vocab_size": 10**12}, {"num_hidden_layers": -1}])
def test_sizes_that_would_never_end(sound, entries):
    edit_json(sound / "base" / "config.json", **entries)
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=r"config.json: .* expected at least 1 of each, at most"):
        load_model(sound / "base", codi=sound / "codi", device="cpu")
    assert time.monotonic() - started < 10


def test_text_of_a_pair_opens_nothing(tmp_path):
    (tmp_path / "outside").mkdir()
    secret = tmp_path / "outside" / "secret.json"
    secret.write_text("[]")
    pairs = json.loads(pair_path("demo").read_text())[:2]
    for pair in pairs:
        pair |= {"path": str(secret), "file": f"file://{secret}", "$ref": str(secret), "include": str(secret)}
        pair["clean"] |= {"cot": str(secret), "image": str(secret)}
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))

    def job() -> None:
        assert hostile.opened_by(lambda: load_pairs(tmp_path / "pairs.json"), tmp_path / "outside") == []

    ended = in_child(job, tmp_path)
    assert ended.code == DONE, ended


def test_links_are_replaced_and_never_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / ".writing-0123456789abcdef").symlink_to(tmp_path / "victim")
    remove_stale(folder)
    assert not any(folder.iterdir())
    cache, about = ActivationCache(folder), {"a": 1}
    cache.save(about, {"x": torch.ones(2)})
    [file] = folder.iterdir()
    file.unlink()
    file.symlink_to(tmp_path / "victim")
    assert cache.load(about, {"x": ((2,), torch.float32)}) is None
    cache.save(about, {"x": torch.ones(2)})
    assert not file.is_symlink()
    assert (tmp_path / "victim").read_text() == "precious"


FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open", "joblib.load",
    "np.load", "numpy.load", "torch.jit.load", "torch.hub.load", "time.time", "getmtime", "getctime",
}  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "subprocess", "socket", "requests", "urllib",
                     "httpx", "http", "ftplib", "multiprocessing", "code", "runpy", "ctypes", "ray", "cloudpickle",
                     "fsspec"}  # fmt: skip
ALLOWED_MODULES = {
    ("storage/atomic.py", "socket"),  # for the name of this machine
    ("scale/cluster.py", "ray"),  # which pickles what the user's own processes hand each other, and reads no file
    ("storage/remote.py", "fsspec"),  # which fetches a run whose URL the user gives
}


# Which file of a full cache was used longest ago; no number of a run depends on it.
ALLOWED_CLOCKS = {("storage/cache_folder.py", "st_mtime")}


def unsafe(source: str, name: str = "") -> list[str]:
    """What a source does that it must not: run text or pickles, start a shell, reach a network, look at clocks."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            arguments = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if called in FORBIDDEN_CALLS or called.rpartition(".")[2] in ("getmtime", "getctime"):
                found.append(called)
            if called == "torch.load" and arguments.get("weights_only") != "True":
                found.append("torch.load without weights_only")
            if arguments.get("shell", "False") != "False" or arguments.get("trust_remote_code", "False") != "False":
                found.append(called)
            if (
                called.endswith("from_pretrained")
                and called.startswith("Auto")
                and "trust_remote_code" not in arguments
            ):
                found.append(f"{called} without trust_remote_code")
        elif isinstance(node, ast.Attribute) and node.attr in ("st_mtime", "st_mtime_ns", "st_ctime"):
            found += [node.attr] if (name, node.attr) not in ALLOWED_CLOCKS else []
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            tops = {each.split(".")[0] for each in names} & FORBIDDEN_MODULES
            found += [top for top in tops if (name, top) not in ALLOWED_MODULES]
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_source_runs_text_pickles_or_a_shell(path):
    assert unsafe(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE))) == []


@pytest.mark.parametrize(
    "source",
    ["eval('1')", "import pickle", "torch.load(x)", "torch.load(x, weights_only=False)", "run(x, shell=True)",
     "AutoConfig.from_pretrained(x)", "f(trust_remote_code=True)", "p.stat().st_mtime", "import os\nos.system('ls')",
     "from urllib.request import urlopen", "time.time()"],
)  # fmt: skip
def test_an_unsafe_source_is_noticed(source):
    assert unsafe(source)


GUARD = """
import sys
def audit(event, args):
    if event == "subprocess.Popen" and args[1] == ["uname", "-p"]:  # the standard library's platform.processor()
        return
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind",
                 "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        with open(FOUND, "a") as file:
            file.write(f"{event} {args!r}\\n")
        raise PermissionError(f"forbidden in this test: {event}")
sys.addaudithook(audit)
"""


def guarded(tmp_path: Path, *command: str) -> tuple[subprocess.CompletedProcess, str]:
    """Run a command of Python in a process that can neither reach a network nor start another; what it tried."""
    found = tmp_path / "tried.txt"
    (tmp_path / "guard").mkdir(exist_ok=True)
    (tmp_path / "guard" / "sitecustomize.py").write_text(f"FOUND = {str(found)!r}\n{GUARD}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    places = (tmp_path / "guard", PACKAGE.parent, Path(__file__).parent / "support")
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    return done, found.read_text() if found.exists() else ""


def test_the_demo_needs_no_network_and_starts_nothing(tmp_path):
    """Without HF_HUB_OFFLINE, as a user runs it; but each of its 16 figures is drawn once, not three times."""
    code = "import drawing; from mechpatch import cli; drawing.figure_files.save = drawing.save_once; cli.main()"
    done, tried = guarded(tmp_path, "-c", code, "demo", "--limit", "2", "--out", "demo", "--cache", "cache")
    assert tried == ""
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "summary.json").exists()


def test_an_attempt_to_reach_the_network_is_noticed(tmp_path):
    done, tried = guarded(tmp_path, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert done.returncode == 1
    assert "socket.getaddrinfo" in tried

"""Files that survive: damage is always noticed, and no moment of a save loses what was there."""

import functools
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from placewise.checkpoint import Checkpoint, Checkpoints, load, save
from placewise.errors import CheckpointError
from placewise.files import read_json, write_bytes, write_json, write_text

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
FINITE = SCALARS.filter(lambda value: value not in (float("inf"), float("-inf")))
PLAIN = st.recursive(
    FINITE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FACTS = st.dictionaries(st.text(), PLAIN, max_size=4)


@functools.cache
def tensors_of(step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {
        "weight": torch.randn(5, 3, generator=generator),
        "half": torch.randn(7, generator=generator).bfloat16(),
        "count": torch.tensor(step),
        "empty": torch.zeros(0, 4),
        "mask": torch.tensor([True, False]),
        "wide": torch.randn(2, generator=generator, dtype=torch.float64),
    }


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def is_step(checkpoint: Checkpoint, step: int) -> bool:
    assert_same(checkpoint.tensors, tensors_of(step))
    return checkpoint.facts == {"step": step}


def save_step(folder: Path, step: int) -> None:
    Checkpoints(folder).save_step(step, tensors_of(step), {"step": step})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 70_000], ids=["empty", "140 kB"])
def test_bytes_come_back_and_replace_the_older(tmp_path: Path, data: bytes):
    write_bytes(tmp_path / "a", b"older")
    write_bytes(tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == data
    assert names(tmp_path) == ["a"]


def test_new_files_have_the_usual_permissions(tmp_path: Path):
    (tmp_path / "usual").write_bytes(b"")
    write_text(tmp_path / "ours", "é")
    assert (tmp_path / "ours").read_bytes() == "é".encode()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@settings(max_examples=60, deadline=None)
@given(facts=FACTS)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, facts: dict):
    facts.pop("sha256", None)
    path = tmp_path_factory.getbasetemp() / "facts.json"
    write_json(path, facts)
    assert read_json(path) == facts


@settings(max_examples=40, deadline=None)
@given(facts=FACTS, step=st.integers(0, 5))
def test_checkpoint_comes_back(tmp_path_factory: pytest.TempPathFactory, facts: dict, step: int):
    path = tmp_path_factory.getbasetemp() / "a.safetensors"
    save(path, tensors_of(step), facts)
    found = load(path)
    assert found.facts == facts
    assert_same(found.tensors, tensors_of(step))


def test_facts_may_contain_what_looks_like_the_checksum(tmp_path: Path):
    zeros = "0" * 64
    trap = '"sha256":"' + zeros + '"}'
    facts = {"sha256": zeros, "a": {"sha256": zeros}, "b": trap, "c": json.dumps(trap)}
    save(tmp_path / "a.safetensors", tensors_of(1), facts)
    assert load(tmp_path / "a.safetensors").facts == facts


def test_same_content_is_the_same_bytes(tmp_path: Path):
    save(tmp_path / "a", tensors_of(1), {"x": 1, "y": 2})
    save(tmp_path / "b", dict(reversed(tensors_of(1).items())), {"y": 2, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tied_strided_and_learned_tensors_are_saved_as_plain_ones(tmp_path: Path):
    weight = torch.nn.Parameter(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))
    tensors = {"a": weight, "tied": weight, "slice": weight[:, 1], "turned": weight.mT}
    save(tmp_path / "a.safetensors", tensors, {})
    found = load(tmp_path / "a.safetensors").tensors
    assert_same(found, tensors)
    assert not any(tensor.requires_grad for tensor in found.values())


def test_loaded_tensors_own_their_memory(tmp_path: Path):
    save(tmp_path / "a.safetensors", tensors_of(1), {})
    found = load(tmp_path / "a.safetensors").tensors
    for tensor in found.values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        tensor.zero_()
    assert_same(load(tmp_path / "a.safetensors").tensors, tensors_of(1))


def test_any_reader_of_safetensors_opens_it(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save(path, tensors_of(1), {"step": 1})
    assert_same(safetensors.torch.load_file(path), tensors_of(1))
    with safetensors.safe_open(path, "np") as file:
        stamp = json.loads(file.metadata()["placewise"])
    assert stamp["facts"] == {"step": 1}
    zeroed = path.read_bytes().replace(stamp["sha256"].encode(), b"0" * 64)
    assert stamp["sha256"] == hashlib.sha256(zeroed).hexdigest()


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.complex64])
def test_non_finite_tensors_are_refused_by_name(tmp_path: Path, bad: float, dtype: torch.dtype):
    save_step(tmp_path, 1)
    tensors = {"good": torch.ones(2), "conv.bad": torch.tensor([0.0, bad], dtype=dtype)}
    with pytest.raises(CheckpointError, match=r"not finite: conv\.bad; older checkpoints are kept"):
        Checkpoints(tmp_path).save_step(2, tensors, {})
    assert names(tmp_path) == ["step-00000001.safetensors"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"a": [1.0, {"b": float("nan")}]}, r"a\[1\]\.b is not a finite number"),
        ({"a": (float("inf"),)}, r"a\[0\] is not a finite number"),
        ({"a": np.float32(1)}, "must be plain JSON"),
        ({"a": {1, 2}}, "must be plain JSON"),
    ],
)
def test_what_is_not_plain_finite_json_is_refused(tmp_path: Path, content: dict, says: str):
    with pytest.raises(CheckpointError, match=says):
        write_json(tmp_path / "a.json", content)
    with pytest.raises(CheckpointError, match=says):
        save(tmp_path / "a.safetensors", {}, content)
    assert names(tmp_path) == []


def test_the_field_sha256_is_ours(tmp_path: Path):
    with pytest.raises(CheckpointError, match="reserved"):
        write_json(tmp_path / "a.json", {"sha256": "mine"})


@pytest.mark.parametrize("reader", [load, read_json])
def test_missing_file_and_folder_are_our_errors(tmp_path: Path, reader):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        reader(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="cannot be read"):
        reader(tmp_path)
    with pytest.raises(CheckpointError, match="could not be written: No such file"):
        write_bytes(tmp_path / "nowhere" / "a", b"")
    with pytest.raises(CheckpointError, match="could not be written"):
        write_bytes(tmp_path, b"")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="no folder for it"):
        save_step(tmp_path / "file", 1)


def test_changed_json_is_noticed(tmp_path: Path):
    path = tmp_path / "a.json"
    content = {"sigma": 1.5, "names": ["nose", "tail"], "deep": {"x": [1, 2, None, True]}}
    write_json(path, content)
    data = path.read_bytes()
    for changed in every_bit_flipped(data):
        path.write_bytes(changed)
        try:
            assert read_json(path) == content  # e.g. 1e-05 for 1E-05
        except CheckpointError as error:
            assert str(path) in str(error)
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            read_json(path)


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "null", '"sha256"', '{"sha256": NaN}', '{"a": 1e999, "sha256": ""}', "[" * 10**5],
    ids=lambda text: text[:20],
)
def test_json_of_others_is_refused(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"a\.json is damaged or of another kind"):
        read_json(tmp_path / "a.json")


def test_a_header_beyond_the_limit_is_neither_written_nor_read(tmp_path: Path):
    with pytest.raises(CheckpointError, match="16777216 are allowed"):
        save(tmp_path / "a", {}, {"x": "x" * 2**24})
    assert names(tmp_path) == []
    (tmp_path / "a").write_bytes(stamped(header_of() + b" " * 2**24))
    with pytest.raises(CheckpointError, match="16777216 are allowed"):
        load(tmp_path / "a")


def test_a_name_that_looks_like_a_second_checksum_is_not_written(tmp_path: Path):
    with pytest.raises(CheckpointError, match="2 checksums of placewise instead of 1"):
        save(tmp_path / "a", {'"sha256":"' + "0" * 64 + '"}': torch.ones(1)}, {})


class Payload:
    """Writes a canary file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (Path.touch, (self.canary,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_a_payload_is_refused_and_not_run(tmp_path: Path, zipped: bool):
    canary, path = tmp_path / "canary", tmp_path / "best.pt"
    torch.save(Payload(canary), path, _use_new_zipfile_serialization=zipped)
    for read in (load, read_json):
        with pytest.raises(CheckpointError, match="damaged or of another kind"):
            read(path)
    assert not canary.exists()
    torch.load(path, weights_only=False)
    assert canary.exists(), "the payload would not have worked, so the test proves nothing"


def stamped(header: bytes, body: bytes = b"") -> bytes:
    """A hostile file whose checksum is right."""
    data = len(header).to_bytes(8, "little") + header + body
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode())


def header_of(**tensors: object) -> bytes:
    stamp = '{"facts":{},"sha256":"' + "0" * 64 + '"}'
    return json.dumps({"__metadata__": {"placewise": stamp}, **tensors}).encode()


def test_an_honest_file_made_by_hand_is_read(tmp_path: Path):
    header = header_of(w={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
    (tmp_path / "a").write_bytes(stamped(header, b"\x00\x00\x80\x3f"))
    assert_same(load(tmp_path / "a").tensors, {"w": torch.ones(1)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        b"\xff" * 8 + b"{}",
        (2**30).to_bytes(8, "little") + b"{}",
        safetensors.torch.save({"w": torch.ones(2)}),
        safetensors.torch.save({"w": torch.ones(2)}, {"placewise": "{}"}),
        stamped(header_of(w={"dtype": "F32", "shape": [2], "data_offsets": [0, 2**62]})),
        stamped(header_of(w={"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]})),
        stamped(header_of(w={"dtype": "OBJ", "shape": [1], "data_offsets": [0, 1]}), b"0"),
        stamped(header_of(w=7)),
        stamped(header_of()[:-1]),
        stamped(header_of(w=[[]]).replace(b"[[]]", b"[" * 10**5)),
        stamped(header_of().replace(b'{\\"facts\\":{},', b'[\\"facts\\",')),
        stamped(header_of().replace(b"{},", b"null,")),
        stamped(header_of().replace(b"{},", b"[1],")),
        stamped(header_of().replace(b"{},", b'{\\"x\\":NaN},')),
        stamped(header_of().replace(b"placewise", b"otherwise")),
        stamped(header_of(**{'"sha256":"' + "0" * 64 + '"}': {}})),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, data: bytes):
    (tmp_path / "a").write_bytes(data)
    try:
        found = load(tmp_path / "a")
    except CheckpointError as error:
        assert "damaged or of another kind" in str(error)
    else:
        assert found.tensors["w"].numel() == 0  # a huge shape of no elements is harmless


# --- damage --------------------------------------------------------------------------------------


def every_bit_flipped(data: bytes):
    for index in range(len(data)):
        for bit in range(8):
            yield data[:index] + bytes([data[index] ^ (1 << bit)]) + data[index + 1 :]


def damaged(data: bytes, flips: int, cuts: int) -> list[bytes]:
    """Copies with one flipped bit or cut short, at places drawn by a fixed seed."""
    draw = np.random.default_rng(0)
    copies = []
    for place in draw.choice(len(data) * 8, flips, replace=False).tolist():
        copy = bytearray(data)
        copy[place // 8] ^= 1 << (place % 8)
        copies.append(bytes(copy))
    return copies + [data[:length] for length in draw.choice(len(data), cuts, replace=False)]


def test_2000_flipped_bits_and_500_truncations_are_never_loaded_silently(tmp_path: Path):
    """And each falls back to the step before, and says so."""
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    newest = tmp_path / "step-00000002.safetensors"
    copies = damaged(newest.read_bytes(), 2000, 500)
    assert len(set(copies)) == 2500
    for copy in copies:
        newest.write_bytes(copy)
        notices: list[str] = []
        latest = Checkpoints(tmp_path).latest(notices.append)
        assert latest is not None
        assert is_step(latest, 1)
        assert len(notices) == 1
        assert re.fullmatch(
            f"{re.escape(str(newest))} is damaged.*Going back to step-00000001.safetensors.",
            notices[0],
        )


@pytest.mark.slow
def test_every_flipped_bit_and_every_truncation_is_noticed(tmp_path: Path):
    save(tmp_path / "a", tensors_of(2), {"step": 2})
    data = (tmp_path / "a").read_bytes()
    for copy in every_bit_flipped(data):
        (tmp_path / "a").write_bytes(copy)
        with pytest.raises(CheckpointError, match="damaged"):
            load(tmp_path / "a")
    for length in range(len(data)):
        (tmp_path / "a").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load(tmp_path / "a")


# --- the folder of a run -------------------------------------------------------------------------


def test_an_empty_run_has_no_latest_and_no_best(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "run")
    assert checkpoints.latest(pytest.fail) is None
    with pytest.raises(CheckpointError, match=r"best\.safetensors cannot be read"):
        checkpoints.best(pytest.fail)
    assert names(tmp_path) == [], "reading must not make the folder"


def test_the_best_and_the_last_two_are_kept(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save_best(tensors_of(0), {"step": 0})
    for step in (5, 10, 200_000, 12_345_678):
        save_step(checkpoints.folder, step)
    assert names(checkpoints.folder) == [
        "best.safetensors",
        "step-00200000.safetensors",
        "step-12345678.safetensors",
    ]
    assert is_step(checkpoints.best(pytest.fail), 0)
    latest = checkpoints.latest(pytest.fail)
    assert latest is not None
    assert is_step(latest, 12_345_678)


def test_a_run_that_went_back_leaves_the_damaged_future(tmp_path: Path):
    save_step(tmp_path, 100)
    save_step(tmp_path, 200)
    (tmp_path / "step-00000200.safetensors").write_bytes(b"damaged")
    save_step(tmp_path, 150)
    assert names(tmp_path) == ["step-00000100.safetensors", "step-00000150.safetensors"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_best_falls_back_to_the_newest_whole_step(tmp_path: Path, damage):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(tensors_of(0), {"step": 0})
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    damage(tmp_path / "best.safetensors")
    (tmp_path / "step-00000002.safetensors").write_bytes(b"damaged")
    notices: list[str] = []
    assert is_step(checkpoints.best(notices.append), 1)
    said = [Path(notice.split()[0]).name for notice in notices]
    assert said == ["best.safetensors", "step-00000002.safetensors"]
    assert all(notice.endswith("Going back to step-00000001.safetensors.") for notice in notices)


def test_a_run_whose_checkpoints_are_all_damaged_says_so(tmp_path: Path):
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    for read in (Checkpoints(tmp_path).latest, Checkpoints(tmp_path).best):
        with pytest.raises(CheckpointError, match="no checkpoint is left") as caught:
            read(pytest.fail)
        assert "step-00000001.safetensors" in str(caught.value)
        assert "step-00000002.safetensors" in str(caught.value)


def test_strays_are_ignored_and_cleaned_and_files_of_others_stay(tmp_path: Path):
    strays = [".step-00000009.safetensors.7-a.tmp", ".best.safetensors.7-a.tmp"]
    others = ["notes.tmp", ".notes.tmp", "step-7.safetensors", "log.jsonl"]
    for name in strays + others:
        (tmp_path / name).write_bytes(b"stray")
    assert Checkpoints(tmp_path).latest(pytest.fail) is None
    assert set(strays) < set(names(tmp_path))
    save_step(tmp_path, 1)
    assert names(tmp_path) == sorted([*others, "step-00000001.safetensors"])


# --- a crash or a fault at every moment ----------------------------------------------------------

CALLS = ("open", "write", "fsync", "close", "replace", "unlink", "mkdir")


def watch(monkeypatch: pytest.MonkeyPatch, before) -> None:
    """Call `before(name, first argument)` before each system call of a save."""

    def watched(name: str, call):
        def calling(*arguments, **settings):
            before(name, arguments[0])
            return call(*arguments, **settings)

        return calling

    for name in CALLS:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))


def calls_of_a_save(folder: Path) -> list[str]:
    """System calls of one save into a folder that holds two steps."""
    save_step(folder, 1)
    save_step(folder, 2)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, lambda name, _: calls.append(name))
        save_step(folder, 3)
    return calls


def test_the_order_of_a_save(tmp_path: Path):
    """The data is on the disk before the name, the name before anything older goes."""
    assert calls_of_a_save(tmp_path) == [
        *("mkdir", "open", "write", "fsync", "close", "replace"),
        *("open", "fsync", "close", "unlink"),
    ]


def assert_nothing_lost(folder: Path) -> int:
    """The newest whole step is the one before or the one that was being saved."""
    latest = Checkpoints(folder).latest(pytest.fail)
    assert latest is not None
    step = latest.facts["step"]
    assert step in (2, 3)
    assert is_step(latest, step)
    return step


def test_an_error_at_every_call_loses_nothing(tmp_path: Path):
    calls = calls_of_a_save(tmp_path / "sample")
    for moment, name in enumerate(calls):
        folder = tmp_path / str(moment)
        save_step(folder, 1)
        save_step(folder, 2)
        left = iter(range(moment + 1))

        def fail(*_, left=left, moment=moment):
            if next(left, None) == moment:
                raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            watch(patch, fail)
            if name in ("mkdir", "unlink"):  # the folder is there; the older one may stay a while
                save_step(folder, 3)
            else:
                with pytest.raises(CheckpointError, match="No space left on device"):
                    save_step(folder, 3)
        replaced = moment > calls.index("replace") or name == "mkdir"
        assert assert_nothing_lost(folder) == (3 if replaced else 2)
        assert not list(folder.glob(".*")), "nothing half-written is left"


SUICIDE = """
import os, signal, sys
from pathlib import Path
from test_checkpoint import CALLS, save_step
folder = Path(sys.argv[1])
for moment in range(1000):
    save_step(folder / str(moment), 1)
    save_step(folder / str(moment), 2)
    child = os.fork()
    if child == 0:
        left = moment
        def patched(call):
            def watched(*arguments, **settings):
                global left
                try:
                    return call(*arguments, **settings)
                finally:
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left -= 1
            return watched
        for name in CALLS:
            setattr(os, name, patched(getattr(os, name)))
        save_step(folder / str(moment), 3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
    if not os.WIFSIGNALED(status):
        break
"""


def test_sigkill_after_every_call_loses_nothing(tmp_path: Path):
    source = Path(sys.modules["placewise.checkpoint"].__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SUICIDE, str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(source), str(Path(__file__).parent)]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    ends = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert ends == [signal.SIGKILL] * 10 + [0], "ten calls, as in test_the_order_of_a_save"
    found = [assert_nothing_lost(tmp_path / str(moment)) for moment in range(len(ends))]
    assert found == sorted(found)
    assert set(found) == {2, 3}
    for moment in range(len(ends)):
        save_step(tmp_path / str(moment), 3)
        assert not list((tmp_path / str(moment)).glob(".*")), "strays are cleaned by the next save"


# --- a full disk ---------------------------------------------------------------------------------


def large(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((50_000,), float(step))}


def test_a_file_size_limit_at_20_points_loses_nothing(tmp_path: Path):
    """The system itself stops the write part of the way, as it does on a full disk."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_step(1, large(1), {"step": 1})
    before = names(tmp_path)
    size = (tmp_path / before[0]).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in np.linspace(1, size - 1, 20).astype(int).tolist():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(CheckpointError) as caught:
                checkpoints.save_step(2, large(2), {"step": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "step-00000002.safetensors could not be written: File too large" in str(caught.value)
        assert "nothing was left behind" in str(caught.value)
        assert names(tmp_path) == before
        latest = checkpoints.latest(pytest.fail)
        assert latest is not None
        assert torch.equal(latest.tensors["weight"], large(1)["weight"])
    checkpoints.save_step(2, large(2), {"step": 2})
    assert len(names(tmp_path)) == 2


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MiB; only root may mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_at_20_points_loses_nothing(small_disk: Path):
    checkpoints = Checkpoints(small_disk)
    checkpoints.save_step(1, large(1), {"step": 1})
    before = names(small_disk)
    for free in np.linspace(0, 180_000, 20).astype(int).tolist():
        ballast = small_disk / "ballast"
        space = os.statvfs(small_disk)
        ballast.write_bytes(b"x" * (space.f_bavail * space.f_bsize - free // 4096 * 4096))
        with pytest.raises(CheckpointError, match="No space left on device; nothing was left"):
            checkpoints.save_step(2, large(2), {"step": 2})
        ballast.unlink()
        assert names(small_disk) == before
        latest = checkpoints.latest(pytest.fail)
        assert latest is not None
        assert torch.equal(latest.tensors["weight"], large(1)["weight"])
    checkpoints.save_step(2, large(2), {"step": 2})
    assert len(names(small_disk)) == 2


def test_replacing_on_a_full_disk_keeps_the_older_file(tmp_path: Path, monkeypatch):
    write_bytes(tmp_path / "a", b"older")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CheckpointError, match="the older file is kept"):
        write_bytes(tmp_path / "a", b"newer")
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b"older"
    assert names(tmp_path) == ["a"]

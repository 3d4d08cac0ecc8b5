"""Files and cards of strangers: nothing in them is executed, and what is damaged is refused."""

import ast
import io
import json
import os
import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import srlib
from srlib.losses import vgg
from srlib.metrics import lpips
from srlib.models import zoo
from srlib.models.cards import WeightsError
from tests.models.zookit import match_card, rewrite_card, save_small


@pytest.fixture
def saved(tmp_path) -> Path:
    return save_small(tmp_path)


# --- weights


class Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def npz_of_objects(trap: Trap) -> bytes:
    file = io.BytesIO()
    np.savez(file, weights=np.array([trap] * 3, object))
    return file.getvalue()


def zip_of_pickles(trap: Trap) -> bytes:
    """Laid out as PyTorch writes its checkpoints."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weights": trap}))
        archive.writestr("archive/version", "3")
    return file.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + data


def claims(shape: list[int], offsets: list[int]) -> bytes:
    about = {"dtype": "F16", "shape": shape, "data_offsets": offsets}
    return header(json.dumps({"stem/kernel": about}), b"\0" * 8)


BF16 = {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}

#: What stands in the place of the weights, made from them or with a trap.
DAMAGED = {
    "nothing": lambda content, _: b"",
    "5 bytes": lambda content, _: content[:5],
    "100 bytes": lambda content, _: content[:100],
    "all but a byte": lambda content, _: content[:-1],
    "a type that NumPy lacks": lambda *_: header(json.dumps(BF16), b"\0" * 4),
    "a pickle": lambda _, trap: pickle.dumps(trap),
    "a pickle in the data": lambda _, trap: header("{}", pickle.dumps(trap)),
    "an npz of objects": lambda _, trap: npz_of_objects(trap),
    "a zip of pickles": lambda _, trap: zip_of_pickles(trap),
    "HDF5": lambda *_: b"\x89HDF\r\n\x1a\n" + bytes(500),
    "JSON": lambda *_: b'{"stem/kernel": [1, 2, 3]}',
    "a header of 2**60 bytes": lambda *_: struct.pack("<Q", 2**60) + b"{}",
    "a header that is no JSON": lambda *_: header("{{{"),
    "data beyond the end": lambda *_: claims([1000], [0, 2000]),
    "more data than its shape": lambda *_: claims([2], [0, 8]),
    "a shape that overflows": lambda *_: claims([2**40, 2**40], [0, 8]),
    "negative offsets": lambda *_: claims([4], [-8, 0]),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_and_disguised_weights_are_refused_and_not_executed(saved, tmp_path, kind):
    """As they are, and with a card that vouches for them."""
    saved.write_bytes(DAMAGED[kind](saved.read_bytes(), Trap(tmp_path / "executed")))
    for reason in ("is not the file its card describes .*damaged", "cannot be read as safetensors"):
        with pytest.raises(WeightsError, match=rf"net\.safetensors: {reason}") as caught:
            zoo.load(saved)
        assert "\n" not in str(caught.value)
        match_card(saved)
    assert not (tmp_path / "executed").exists()


def test_one_flipped_bit_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.safetensors: is not the file .*damaged"):
        zoo.load(saved)


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


# --- cards

CODE = {"module": "os", "class_name": "mkdir", "config": "executed", "registered_name": "mkdir"}
UNBUILT = r"cannot be built \("


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "__import__('os').mkdir('executed')"}, UNBUILT),
        ({"architecture": "os.mkdir"}, UNBUILT),
        # A function of srlib.models, but no architecture.
        ({"architecture": "deepen"}, UNBUILT + "unknown architecture 'deepen'"),
        ({"architecture": CODE}, UNBUILT),
        ({"architecture": ["residual"]}, UNBUILT),
        ({"options": 7}, UNBUILT),
        ({"options": {"colour": "blue"}}, UNBUILT),
        ({"options": {"dtype": CODE}}, UNBUILT),
        ({"options": {"dtype": "mixed_bfloat16"}}, UNBUILT),  # the caller's to choose
        ({"options": {"blocks": CODE}}, UNBUILT),
        ({"options": {"blocks": [1, 2]}}, UNBUILT),
        ({"options": {"blocks": None}}, UNBUILT),
        ({"options": {"blocks": "__import__('os').mkdir('executed')"}}, UNBUILT),
        ({"options": {"blocks": 1, "filters": "8; import os"}}, UNBUILT),
        ({"options": {"blocks": 300}}, UNBUILT),  # as 10**9 would be built for ever
        ({"options": {"blocks": 1, "filters": 10**6}}, UNBUILT),
        ({"options": {"blocks": 1, "filters": 0}}, UNBUILT),
        ({"options": {"blocks": 1, "filters": -8}}, UNBUILT),
        ({"architecture": "hourglass", "options": {"depth": 1}}, "does not belong to hourglass"),
        ({"options": {"blocks": 2, "filters": 8}}, r"4 names differ, first 'block2a/bias'"),
        ({"options": {"blocks": 1, "filters": 4}}, r"is \(3, 3, 3, 8\), but residual needs"),
    ],
    ids=str,
)
def test_a_card_describes_the_network_of_its_weights_and_calls_nothing(
    saved, changes, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    rewrite_card(saved, **changes)
    with pytest.raises(WeightsError, match=rf"net\.safetensors: .*{message}"):
        zoo.load(saved)
    assert sorted(tmp_path.rglob("*")) == before


# --- pickles anywhere

#: Names that a pickle asked for. A hook cannot be removed again, but it does nothing else.
_asked: list[str] = []
sys.addaudithook(lambda event, arguments: _asked.append(event) if "pickle" in event else None)


def test_nothing_is_unpickled_by_loading(tmp_path, saved):
    """Python reports every unpickling to its audit hooks, whoever does it."""
    for file in ("vgg.npz", "lpips.npz"):
        (tmp_path / file).write_bytes(npz_of_objects(Trap(tmp_path / "executed")))
    hostile = tmp_path / "hostile.safetensors"
    hostile.write_bytes(npz_of_objects(Trap(tmp_path / "executed")))
    shutil.copy(saved.with_suffix(".json"), hostile.with_suffix(".json"))
    match_card(hostile)
    named = np.empty((3, 3, 3, 64), object)
    named[...] = Trap(tmp_path / "executed")
    np.savez(tmp_path / "named.npz", **{"block1_conv1/kernel": named, "alex/conv1/bias": named})
    _asked.clear()
    for name in srlib.available():
        srlib.load(name)
    for ask, error in (
        (lambda: zoo.load(hostile), WeightsError),
        *[
            (lambda f=f: vgg.load_weights(tmp_path / f), vgg.VGGWeightsError)
            for f in ("vgg.npz", "named.npz")
        ],
        *[
            (lambda f=f: lpips.lpips(*np.zeros((2, 32, 32, 3)), tmp_path / f),
             lpips.LPIPSWeightsError)
            for f in ("lpips.npz", "named.npz")
        ],
    ):  # fmt: skip
        with pytest.raises(error):
            ask()
    assert _asked == []
    assert not (tmp_path / "executed").exists()
    with np.load(tmp_path / "named.npz", allow_pickle=True) as file:  # the trap and the hook work
        assert file["alex/conv1/bias"].shape == (3, 3, 3, 64)
    assert "pickle.find_class" in _asked
    assert (tmp_path / "executed").exists()


UNSAFE_MODULES = {
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch",
}  # fmt: skip
UNSAFE_CALLS = {
    "eval", "exec", "__import__", "load_model", "model_from_json", "enable_unsafe_deserialization",
    "unsafe_load", "loads_pickle", "read_pickle", "fromstring",
}  # fmt: skip


def unsafe(source: str) -> list[str]:
    """What in a module could execute what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in UNSAFE_MODULES]
        if isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in UNSAFE_MODULES else []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(getattr(node.func, "value", None), "id", "")
            options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            found += [name] if name in UNSAFE_CALLS else []
            if (owner, name) in {("np", "load"), ("numpy", "load")}:
                found += [] if options.get("allow_pickle") is False else ["np.load"]
            if options.get("allow_pickle") or options.get("safe_mode", True) is not True:
                found.append("an unsafe option")
            if (owner, name) == ("yaml", "load") or options.get("shell"):
                found.append(f"{owner}.{name}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from torch.serialization import load", "eval(text)",
        "keras.models.load_model(path)", "np.load(path)", "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)", "other.load(path, allow_pickle=True)",
        "keras.saving.deserialize_keras_object(x, safe_mode=False)", "yaml.load(text)",
        "subprocess.run(command, shell=True)",
    ],
)  # fmt: skip
def test_the_search_for_unsafe_code_finds_it(source):
    assert unsafe(source)


def test_no_code_of_srlib_can_execute_a_file():
    modules = sorted(Path(srlib.__file__).parent.rglob("*.py"))
    assert len(modules) > 20
    found = {path.name: unsafe(path.read_text()) for path in modules}
    assert {name: what for name, what in found.items() if what} == {}
    assert not unsafe("np.load(path, allow_pickle=False)")

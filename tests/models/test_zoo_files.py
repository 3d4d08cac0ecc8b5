"""The zoo: what is written comes back, and nothing else is accepted."""

import ast
import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import socket
import struct
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.numpy

import srlib
from srlib import models
from srlib.layers.upsampling import UPSAMPLERS
from srlib.losses import vgg
from srlib.metrics import lpips
from srlib.models import cards, zoo
from srlib.models.zoo import WeightsError

SMALL = {
    "residual": {"blocks": 1, "filters": 8},
    "hourglass": {"depth": 1},
    "linear": {"taps": 5},
}


def randomised(architecture: str, options: dict, seed: int = 1) -> keras.Model:
    """A network none of whose variables holds its initial value."""
    model = models.build(architecture, **options)
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(rng.uniform(0.05, 0.1, variable.shape).astype(np.float32))
    return model


@pytest.fixture
def saved(tmp_path) -> Path:
    """A small residual network, written with its card."""
    model = randomised("residual", SMALL["residual"])
    return zoo.save(model, tmp_path / "net.safetensors", "residual", SMALL["residual"])


def rewrite_card(path: Path, **changes) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def match_card(path: Path) -> None:
    """Make the card vouch for the file as it is now, as an attacker would."""
    rewrite_card(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


# --- there and back


@pytest.mark.parametrize("architecture", SMALL)
def test_round_trip_is_float16_rounding_and_nothing_else(architecture, tmp_path, rng):
    options = SMALL[architecture]
    model = randomised(architecture, options)
    path = zoo.save(model, tmp_path / "deep" / "net.safetensors", architecture, options)
    assert path == tmp_path / "deep" / "net.safetensors"
    again = zoo.load(path)
    changed = 0
    for before, after in zip(model.variables, again.variables, strict=True):
        expected = np.asarray(before, np.float32).astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(np.asarray(after, np.float32), expected)
        changed += np.any(expected != np.asarray(before, np.float32))
        before.assign(expected)
    assert changed  # so the rounding was seen
    low = rng.random((2, 8, 6, 3), np.float32)
    np.testing.assert_array_equal(again(low, training=False), model(low, training=False))


@pytest.mark.parametrize(
    "upsampler",
    UPSAMPLERS,
)
def test_every_upsampler_can_be_stored(upsampler, tmp_path, rng):
    options = {"upsampler": upsampler, "blocks": 1, "filters": 4}
    model = randomised("with_upsampler", options)
    path = zoo.save(model, tmp_path / "net.safetensors", "with_upsampler", options)
    low = rng.random((2, 8, 6, 3), np.float32)
    np.testing.assert_allclose(zoo.load(path)(low), model(low), atol=1e-3)


def test_load_gives_the_dtype_asked_for(saved):
    model = zoo.load(str(saved), dtype="mixed_bfloat16")
    assert model.get_layer("stem").compute_dtype == "bfloat16"
    assert model.get_layer("stem").kernel.dtype == "float32"
    assert zoo.load(saved).get_layer("stem").compute_dtype == "float32"


def test_card_says_what_the_file_is(tmp_path):
    model = randomised("residual", SMALL["residual"])
    path = zoo.save(
        model, tmp_path / "v1.2.safetensors", "residual", SMALL["residual"], summary="a test"
    )
    content = path.read_bytes()
    assert cards.card(path) == {
        "name": "v1.2",
        "architecture": "residual",
        "options": {"blocks": 1, "filters": 8},
        "parameters": model.count_params(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "summary": "a test",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v1.2.json", "v1.2.safetensors"]
    tensors = safetensors.numpy.load_file(path)
    assert {t.dtype for t in tensors.values()} == {np.dtype(np.float16)}
    assert sum(t.size for t in tensors.values()) == model.count_params()


@pytest.mark.parametrize("name", cards.BASELINES)
def test_baselines_load_without_a_file_and_have_no_card(name):
    assert zoo.load(name).name == name
    with pytest.raises(WeightsError, match=f"^{name}: is computed"):
        cards.card(name)


# --- what is shipped


def test_shipped_models_are_listed_whole_and_small():
    names = srlib.available()
    assert {"residual-mse", "hourglass-mse"} <= set(names)
    assert names == sorted(names)
    for name in names:
        content = (cards.FOLDER / f"{name}.safetensors").read_bytes()
        card = srlib.card(name)
        assert hashlib.sha256(content).hexdigest() == card["sha256"], name
        assert card["bytes"] == len(content)
        assert card["name"] == name
        assert card["summary"]
    files = list(cards.FOLDER.iterdir())
    assert sum(f.stat().st_size for f in files) < 45e6
    assert {f.suffix for f in files} == {".safetensors", ".json"}
    assert len(files) == 2 * len(names)


def test_shipped_models_load_without_a_network_and_enlarge(monkeypatch, rng):
    def refused(*_, **__):
        raise AssertionError("load must not use the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
    for name in srlib.available():
        model = srlib.load(name)
        card = srlib.card(name)
        assert model.count_params() == card["parameters"]
        residual = card["architecture"] == "residual"
        for height, width in [(7, 13), (1, 5), (16, 8)] if residual else [(16, 8)]:
            low = rng.random((2, height, width, 3), np.float32)
            high = np.asarray(model(low, training=False))
            assert high.shape == (2, 2 * height, 2 * width, 3)
            assert high.dtype == np.float32
            assert high.min() >= 0
            assert high.max() <= 1
            assert np.ptp(high) > 0


# --- damage


def test_one_flipped_bit_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(WeightsError, match=r"net\.safetensors: is not the file .*damaged"):
        zoo.load(saved)


@pytest.mark.parametrize("vouched", [False, True], ids=["card differs", "card matches"])
@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_and_empty_files_are_refused(saved, kept, vouched):
    saved.write_bytes(saved.read_bytes()[:kept])
    if vouched:
        match_card(saved)
    reason = "cannot be read as safetensors" if vouched else "is not the file its card describes"
    with pytest.raises(WeightsError, match=rf"net\.safetensors: {reason}"):
        zoo.load(saved)


def test_a_type_that_numpy_lacks_is_refused(saved):
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    saved.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    match_card(saved)
    with pytest.raises(WeightsError, match=r"net\.safetensors: cannot be read"):
        zoo.load(saved)


class Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("vouched", [False, True], ids=["card differs", "card matches"])
def test_a_pickle_is_refused_and_not_executed(saved, tmp_path, vouched):
    saved.write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    if vouched:
        match_card(saved)
    with pytest.raises(WeightsError, match=r"net\.safetensors"):
        zoo.load(saved)
    assert not (tmp_path / "executed").exists()
    pickle.loads(saved.read_bytes())  # the trap works
    assert (tmp_path / "executed").exists()


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


DISGUISED = {
    "a pickle in the data": lambda trap: header("{}", pickle.dumps(trap)),
    "an npz of objects": npz_of_objects,
    "a zip of pickles": zip_of_pickles,
    "HDF5": lambda _: b"\x89HDF\r\n\x1a\n" + bytes(500),
    "JSON": lambda _: b'{"stem/kernel": [1, 2, 3]}',
    "a header of 2**60 bytes": lambda _: struct.pack("<Q", 2**60) + b"{}",
    "a header that is no JSON": lambda _: header("{{{"),
    "data beyond the end": lambda _: claims([1000], [0, 2000]),
    "more data than its shape": lambda _: claims([2], [0, 8]),
    "a shape that overflows": lambda _: claims([2**40, 2**40], [0, 8]),
    "negative offsets": lambda _: claims([4], [-8, 0]),
}


@pytest.mark.parametrize("kind", DISGUISED)
def test_what_only_looks_like_weights_is_refused_and_not_executed(saved, tmp_path, kind):
    saved.write_bytes(DISGUISED[kind](Trap(tmp_path / "executed")))
    for vouched in (False, True):
        if vouched:
            match_card(saved)
        with pytest.raises(WeightsError, match=r"net\.safetensors: ") as caught:
            zoo.load(saved)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


CODE = {"module": "os", "class_name": "mkdir", "config": "executed", "registered_name": "mkdir"}


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "__import__('os').mkdir('executed')"},
        {"architecture": "os.mkdir"},
        {"architecture": "deepen"},  # a function of srlib.models, but no architecture
        {"architecture": CODE},
        {"options": {"dtype": CODE}},
        {"options": {"dtype": "mixed_bfloat16"}},  # the caller's to choose
        {"options": {"blocks": CODE}},
        {"options": {"blocks": [1, 2]}},
        {"options": {"blocks": None}},
        {"options": {"blocks": "__import__('os').mkdir('executed')"}},
        {"options": {"blocks": 1, "filters": "8; import os"}},
        {"options": {"blocks": 300}},  # as 10**9 would be built for ever
        {"options": {"blocks": 1, "filters": 10**6}},
        {"options": {"blocks": 1, "filters": 0}},
        {"options": {"blocks": 1, "filters": -8}},
    ],
    ids=str,
)
def test_a_card_describes_a_network_and_calls_nothing(saved, changes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    rewrite_card(saved, **changes)
    with pytest.raises(WeightsError, match=r"net\.safetensors: .* cannot be built \("):
        zoo.load(saved)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_card_nested_too_deep_is_damaged(saved):
    saved.with_suffix(".json").write_text("[" * 100_000)
    with pytest.raises(WeightsError, match=r"net\.json: the model card is missing or damaged"):
        zoo.load(saved)


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "hourglass", "options": {"depth": 1}}, "does not belong to hourglass"),
        ({"options": {"blocks": 2, "filters": 8}}, r"4 names differ, first 'block2a/bias'"),
        ({"options": {"blocks": 1, "filters": 4}}, r"is \(3, 3, 3, 8\), but residual needs"),
        ({"architecture": "unheard-of"}, "unknown architecture 'unheard-of'"),
        ({"options": {"colour": "blue"}}, "cannot be built"),
        ({"options": 7}, "cannot be built"),
        ({"architecture": ["residual"]}, "cannot be built"),
    ],
)
def test_weights_of_another_network_are_refused(saved, changes, message):
    rewrite_card(saved, **changes)
    with pytest.raises(WeightsError, match=rf"net\.safetensors: .*{message}"):
        zoo.load(saved)


@pytest.mark.parametrize("content", [None, "", "{", "[1, 2]", "3", "\udcff"])
def test_missing_and_damaged_cards_are_named(saved, content):
    card = saved.with_suffix(".json")
    card.unlink()
    if content is not None:
        card.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(WeightsError, match=r"net\.json: the model card is missing or damaged"):
        zoo.load(saved)


@pytest.mark.parametrize("key", ["architecture", "options", "sha256"])
def test_a_card_that_lacks_something_says_what(saved, key):
    card = saved.with_suffix(".json")
    card.write_text(json.dumps({k: v for k, v in cards.card(saved).items() if k != key}))
    with pytest.raises(WeightsError, match=rf"net\.json: .*lacks {key}"):
        zoo.load(saved)


@pytest.mark.parametrize("ask", [zoo.load, cards.card])
@pytest.mark.parametrize("name", ["resnet", "gone.safetensors", "", "../zoo/residual-mse"])
def test_an_unknown_name_lists_what_there_is(name, ask):
    with pytest.raises(WeightsError) as caught:
        ask(name)
    message = str(caught.value)
    assert message.startswith(f"{name}: no such model")
    for known in (*cards.available(), *cards.BASELINES):
        assert known in message


# --- between two networks


KINDS = {
    **SMALL,
    "with_upsampler": {"upsampler": "deconv + box", "blocks": 1, "filters": 4},
}


@pytest.fixture(params=KINDS)
def two(request) -> tuple[keras.Model, keras.Model]:
    options = KINDS[request.param]
    return tuple(randomised(request.param, options, seed) for seed in (1, 2))


@pytest.mark.parametrize("share", [0.0, 1.0, 0.5, 0.25, 1.5, -0.5])
def test_interpolation_mixes_every_weight(two, share):
    first, second = two
    before = [model.get_weights() for model in two]
    mixed = zoo.blend(first, second, share)
    assert mixed is not first and mixed is not second
    assert mixed.name == first.name
    for a, b, found in zip(*before, mixed.get_weights(), strict=True):
        assert np.abs(a - b).max() > 1e-3
        by_hand = a.astype(np.float64) + share * (b.astype(np.float64) - a)
        np.testing.assert_allclose(found, by_hand, atol=1e-7)
    mixed.set_weights([w + 1 for w in mixed.get_weights()])  # the others stay as they are
    for model, was in zip(two, before, strict=True):
        for now, then in zip(model.get_weights(), was, strict=True):
            np.testing.assert_array_equal(now, then)


def test_interpolations_ends_are_the_networks_themselves(two, rng):
    low = rng.random((2, 8, 6, 3), np.float32)
    for share, model in zip((0, 1), two, strict=True):
        np.testing.assert_array_equal(zoo.blend(*two, share)(low), model(low))


def test_an_interpolated_linear_filter_is_the_mean_of_the_pictures(rng):
    """The one network whose output is linear in its weights."""
    two = [randomised("linear", SMALL["linear"], seed) for seed in (1, 2)]
    low = rng.random((1, 8, 6, 3), np.float32) / 4
    pictures = [model(low, training=True) for model in two]
    mixed = zoo.blend(*two, 0.3)(low, training=True)
    np.testing.assert_allclose(mixed, 0.7 * pictures[0] + 0.3 * pictures[1], atol=1e-6)


def test_an_interpolated_network_is_like_any_other(tmp_path, rng):
    two = [models.residual(1, 8, dtype="mixed_bfloat16") for _ in range(2)]
    mixed = zoo.blend(*two, 0.5)
    assert mixed.get_layer("stem").compute_dtype == "bfloat16"
    assert [v.path for v in mixed.variables] == [v.path for v in two[0].variables]
    path = zoo.save(mixed, tmp_path / "mixed.safetensors", "residual", SMALL["residual"])
    assert zoo.load(path).count_params() == mixed.count_params()
    mixed.compile("adam", "mse")
    low = rng.random((2, 8, 6, 3), np.float32)
    assert np.isfinite(mixed.train_on_batch(low, rng.random((2, 16, 12, 3), np.float32)))


@pytest.mark.parametrize(
    "other", [("residual", {"blocks": 2, "filters": 8}), ("residual", {"blocks": 1, "filters": 4}),
              ("linear", {"taps": 5})],
)  # fmt: skip
def test_interpolation_of_different_networks_is_refused(other):
    first, second = randomised("residual", SMALL["residual"]), randomised(*other)
    for pair in ((first, second), (second, first)):
        names = " and ".join(model.name for model in pair)
        with pytest.raises(WeightsError, match=f"^{names} differ in their weights' number or"):
            zoo.blend(*pair, 0.5)


# --- writing


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000.0])
def test_values_that_float16_cannot_store_are_refused(tmp_path, value):
    model = randomised("residual", SMALL["residual"])
    kernel = np.array(model.get_layer("body").kernel)
    kernel[0, 0, 0, 0] = value
    model.get_layer("body").kernel.assign(kernel)
    with pytest.raises(WeightsError, match=r"net\.safetensors: not written, body/kernel"):
        zoo.save(model, tmp_path / "net.safetensors", "residual", SMALL["residual"])
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"net\.h5: must end in \.safetensors"):
        zoo.save(randomised("linear", {}), tmp_path / "net.h5", "linear")
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def files_of_at_most(size: int):
    """The operating system refuses to write more, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fault", ["replace", "write", "card"])
def test_an_interrupted_save_leaves_the_old_model(saved, fault, monkeypatch):
    before = {p.name: p.read_bytes() for p in saved.parent.iterdir()}
    other = randomised("residual", SMALL["residual"], seed=2)
    about = {"history": object()} if fault == "card" else {}  # cannot become JSON

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        if fault == "replace":
            patch.setattr(os, "replace", killed)
        if fault == "write":
            stack.enter_context(files_of_at_most(5000))
        with pytest.raises((KeyboardInterrupt, OSError, TypeError)):
            zoo.save(other, saved, "residual", SMALL["residual"], **about)
    assert {p.name: p.read_bytes() for p in saved.parent.iterdir()} == before
    zoo.load(saved)


def test_a_file_and_its_card_can_be_moved_together(saved, tmp_path):
    target = tmp_path / "elsewhere" / "renamed.safetensors"
    target.parent.mkdir()
    shutil.copy(saved, target)
    with pytest.raises(WeightsError, match=r"renamed\.json"):
        zoo.load(target)
    shutil.copy(saved.with_suffix(".json"), target.with_suffix(".json"))
    assert zoo.load(target).count_params() == cards.card(saved)["parameters"]

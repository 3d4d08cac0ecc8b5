"""Model cards: what they say, without TensorFlow, and what happens where one is missing."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import srlib
from srlib.models import cards, zoo
from srlib.models.cards import WeightsError
from tests.models.zookit import SMALL, save_small

HEAVY = {"tensorflow", "keras", "h5py", "matplotlib", "numpy"}


@pytest.mark.parametrize(
    "code",
    [
        "import srlib.models.cards as cards; assert cards.card(cards.DEFAULT)",
        "import srlib; assert all(srlib.card(name) for name in srlib.available())",
        "from srlib import cli; assert cli.main(['models']) == 0",
    ],
)
def test_cards_are_read_without_tensorflow(code):
    code += f"; import sys; print({HEAVY} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_a_card_says_what_the_file_is(tmp_path):
    path = save_small(tmp_path, "v1.2", summary="a test")
    content, tensors = path.read_bytes(), safetensors.numpy.load_file(path)
    assert cards.card(path) == {
        "name": "v1.2",
        "architecture": "residual",
        "options": SMALL["residual"],
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "summary": "a test",
    }
    assert zoo.load(path).count_params() == cards.card(path)["parameters"]
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float16)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v1.2.json", "v1.2.safetensors"]


def test_shipped_models_are_listed_whole_and_small():
    names = srlib.available()
    assert {"residual-mse", "hourglass-mse", cards.DEFAULT} <= set(names)
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


def test_phases_go_from_the_last_to_the_first():
    card = {"job": "c", "before": {"job": "b", "before": {"job": "a"}}}
    assert [phase["job"] for phase in cards.phases(card)] == ["c", "b", "a"]
    assert list(cards.phases({"job": "alone"})) == [{"job": "alone"}]


@pytest.mark.parametrize("name", cards.BASELINES)
def test_baselines_load_without_a_file_and_have_no_card(name):
    assert zoo.load(name).name == name
    with pytest.raises(WeightsError, match=f"^{name}: is computed"):
        cards.card(name)


def lacking(key: str):
    return lambda card: json.dumps({k: v for k, v in card.items() if k != key}).encode()


DAMAGED = {
    "missing": (None, ""),
    "empty": (lambda _: b"", ""),
    "cut": (lambda _: b"{", ""),
    "a list": (lambda _: b"[1, 2]", "it is not a JSON object"),
    "a number": (lambda _: b"3", "it is not a JSON object"),
    "no UTF-8": (lambda _: b"\xff", ""),
    "nested too deep": (lambda _: b"[" * 100_000, ""),
    **{
        f"before is {before}": (
            lambda card, before=before: json.dumps(card | {"before": before}).encode(),
            "an earlier phase is not a JSON object",
        )
        for before in ("hello", [1], {"before": 3})
    },
    **{
        f"lacks {key}": (lacking(key), f"it lacks {key}")
        for key in ("architecture", "options", "sha256")
    },
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_missing_and_damaged_cards_are_named(tmp_path, kind):
    path, (write, reason) = save_small(tmp_path), DAMAGED[kind]
    card = path.with_suffix(".json")
    about = json.loads(card.read_text())
    card.unlink()
    if write:
        card.write_bytes(write(about))
    for ask in (zoo.load, cards.card):
        with pytest.raises(
            WeightsError, match=rf"net\.json: the model card is missing or damaged \(.*{reason}"
        ):
            ask(path)


@pytest.mark.parametrize("ask", [zoo.load, cards.card])
@pytest.mark.parametrize("name", ["resnet", "gone.safetensors", "", "../zoo/residual-mse"])
def test_an_unknown_name_lists_what_there_is(name, ask):
    with pytest.raises(WeightsError) as caught:
        ask(name)
    message = str(caught.value)
    assert message.startswith(f"{name}: no such model")
    for known in (*cards.available(), *cards.BASELINES):
        assert known in message

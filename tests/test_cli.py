"""The command: what it prints, writes and returns."""

import argparse
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_photo, write_photos
from PIL import Image

import srlib
from srlib import cli, data, evaluation, models
from srlib._files import write_whole
from srlib.cli import main
from srlib.data import stream
from srlib.errors import PhotoError
from srlib.models import cards, zoo
from srlib.training import loop
from srlib.upscaling import photo
from tests.imagefile import corpus

COMMANDS = ("evaluate", "upscale", "train", "export", "models")


@pytest.fixture
def run(capsys):
    """Run the command; returns exit code, standard output and standard error."""

    def run(*arguments):
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def refused(outcome, *words) -> None:
    """Exit code 1 and one line on stderr that names the thing."""
    code, out, err = outcome
    assert code == 1
    assert out == ""
    assert err.startswith("srlib: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for word in words:
        assert str(word) in err


# --- help and usage


def help_of(command, capsys) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_lists_commands_and_exit_codes(capsys):
    text = help_of([], capsys)
    for command in COMMANDS:
        assert f"    {command} " in text
    assert "Exit codes: 0 done, 1" in " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(command, capsys):
    text = " ".join(help_of([command], capsys).split())
    (commands,) = (a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions = commands.choices[command]._actions
    assert len(actions) > 1
    for action in actions:
        name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
        assert name in text
        assert action.help, f"{name} is not explained"
        assert " ".join(action.help.split()).split("%")[0].strip()[:20] in text


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys\n"
        "from srlib.cli import main\n"
        "try:\n"
        "    main(['train', '--help'])\n"
        "except SystemExit as done:\n"
        "    assert done.code == 0\n"
        "sys.exit(bool({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))\n"
    )
    root = Path(srlib.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--learning-rate" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"srlib {srlib.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["sharpen"], "sharpen"),
        (["evaluate"], "DIR"),
        (["evaluate", "d", "--size", "7"], "7: must be an even number of at least 16"),
        (["evaluate", "d", "--size", "14"], "14: must be an even number"),
        (["evaluate", "d", "--size", "big"], "big: must be an even number"),
        (["evaluate", "d", "--protocol", "hsv"], "hsv"),
        (["evaluate", "d", "--model"], "--model"),
        (["upscale"], "PATH"),
        (["upscale", "in.png", "--scale", "3"], "invalid choice"),
        (["upscale", "in.png", "--format", "gif"], "gif: cannot be written; choose one of png"),
        (["upscale", "in.png", "--tile", "0"], "0: must be a whole number of at least 1"),
        (["upscale", "in.png", "--workers", "none"], "none: must be a whole number"),
        (["upscale", "in.png", "--shard", "3"], "3: must be I/N, from 1/N to N/N"),
        (["upscale", "in.png", "--shard", "0/4"], "0/4: must be I/N"),
        (["upscale", "in.png", "--shard", "5/4"], "5/4: must be I/N"),
        (["train", "d", "o.safetensors", "--epochs", "0"], "0: must be a whole number"),
        (["train", "d", "o.safetensors", "--steps", "x"], "x: must be a whole number"),
        (["train", "d", "o.safetensors", "--batch-size=-1"], "-1: must be a whole number"),
        (["train", "d", "o.safetensors", "--learning-rate", "nan"], "nan: must be a positive"),
        (["train", "d", "o.safetensors", "--learning-rate", "x"], "x: must be a positive"),
        (["train", "d", "o.safetensors", "--loss", "l3"], "l3"),
        (["train", "d", "o.safetensors", "--seed=-1"], "-1: must be a whole number from 0"),
        (["train", "d", "o.safetensors", "--seed", str(2**32)], "must be a whole number from 0"),
    ],
)
def test_wrong_usage_is_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: srlib")
    assert message in captured.err.splitlines()[-1]


# --- models


def test_models_are_listed(run):
    code, out, err = run("models")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == srlib.available()
    for line, name in zip(lines, srlib.available(), strict=True):
        card = srlib.card(name)
        assert f" {card['parameters']:,} parameters " in line
        assert line.endswith(card["summary"])


def test_a_card_is_printed(run):
    code, out, _ = run("models", "residual-mse")
    assert code == 0
    card = srlib.card("residual-mse")
    for phase in cards.phases(card):
        assert phase.pop("history")  # far too long to read
    assert json.loads(out) == card


def test_models_without_a_card(run):
    refused(run("models", "resnet"), "resnet: no such model", "residual-mse")
    refused(run("models", "bicubic"), "bicubic: is computed")


# --- evaluate


def test_evaluate_prints_and_writes_the_same(run, photo_folder, tmp_path):
    file = tmp_path / "scores.json"
    code, out, err = run(
        "evaluate", photo_folder, "--model", "lanczos", "--model", "nearest", "--json", file
    )
    assert (code, err) == (0, "")
    assert out.startswith("12 photos; RGB, 0 px shaved")
    rows = out.splitlines()
    del rows[: next(i for i, line in enumerate(rows) if line.startswith("model ")) + 1]
    content = json.loads(file.read_text())
    assert content["photos"] == str(photo_folder)
    assert [row.split()[0] for row in rows] == ["bicubic", "lanczos", "nearest"]
    for printed, row in zip(rows, content["summary"], strict=True):
        words = printed.replace("[", " ").replace("]", " ").replace(",", " ").split()
        assert words[0] == row["model"]
        keys = ("psnr", "sd", "median", "ssim", "gain")
        numbers = [row[k] for k in keys] + row["gain_interval"]
        np.testing.assert_allclose([float(w) for w in words[1:8]], numbers, atol=0.006)
        assert words[8] == f"{row['won']:.1%}"
        values = [image[f"psnr {row['model']}"] for image in content["images"]]
        assert np.mean(values) == pytest.approx(row["psnr"], abs=1e-3)
    assert [i["name"] for i in content["images"]] == [f"photo{i:02}.png" for i in range(12)]
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "scores.json"}
    scores = evaluation.evaluate({"lanczos": models.lanczos()}, data.photos(photo_folder, "all"))
    assert content["summary"][1]["psnr"] == pytest.approx(scores.psnr["lanczos"].mean())


def test_evaluate_by_the_other_protocol(run, photo_folder):
    code, out, _ = run("evaluate", photo_folder, "--protocol", "y", "--size", "32")
    assert code == 0
    assert out.startswith("12 photos; Y of BT.601 in studio range, 2 px shaved")
    assert "photos reduced to 32 px" in " ".join(out.split())
    assert any(line.startswith("bicubic") for line in out.splitlines())


def test_evaluate_takes_the_test_split_where_there_is_one(run, tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        folder = tmp_path / "tree" / split / "cat"
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(smooth_photo(20, 20, i)).save(folder / f"{i}.png")
    for options, count in (((), 2), (("--split", "train"), 3), (("--split", "all"), 5)):
        code, out, _ = run("evaluate", tmp_path / "tree", *options)
        assert code == 0
        assert out.startswith(f"{count} photos")


def test_evaluate_with_a_file_of_weights(run, photo_folder, tmp_path):
    options = {"blocks": 1, "filters": 4}
    file = tmp_path / "mine.safetensors"
    zoo.save(models.residual(**options), file, "residual", options)
    code, out, _ = run("evaluate", photo_folder, "--model", file)
    assert code == 0
    assert f"\n{file} " in out


@pytest.mark.filterwarnings("default::UserWarning")
def test_evaluate_goes_on_without_a_damaged_photo(run, photo_folder):
    file = photo_folder / "photo03.png"
    file.write_bytes(file.read_bytes()[:300])
    (photo_folder / "note.png").write_text("no image")
    before = warnings.showwarning
    code, out, err = run("evaluate", photo_folder)
    assert warnings.showwarning is before
    assert code == 0
    assert out.startswith("11 photos")
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("srlib: warning: ") for line in lines)
    assert "note.png" in lines[0]
    assert "photo03.png" in lines[1]


def test_evaluate_refuses_bad_input(run, photo_folder, tmp_path):
    refused(
        run("evaluate", photo_folder, "--model", "resnet"), "resnet: no such model", "residual-mse"
    )
    refused(run("evaluate", tmp_path / "gone"), tmp_path / "gone", "nor a folder")
    (tmp_path / "empty").mkdir()
    refused(run("evaluate", tmp_path / "empty"), tmp_path / "empty", "no usable photos", ".jpg")
    file = tmp_path / "net.safetensors"
    zoo.save(models.linear(5), file, "linear", {"taps": 5})
    file.write_bytes(file.read_bytes()[:-1])
    refused(run("evaluate", photo_folder, "--model", file), file, "damaged")
    file.with_suffix(".json").write_text("[]")
    refused(run("evaluate", photo_folder, "--model", file), file.with_suffix(".json"))


def test_evaluate_refuses_an_impossible_json_file_before_scoring(
    run, photo_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, "evaluate", None)  # would be a TypeError
    target = tmp_path / "gone" / "scores.json"
    refused(run("evaluate", photo_folder, "--json", target), target, "no folder")
    refused(run("evaluate", photo_folder, "--json", tmp_path), tmp_path, "is a folder")
    assert {p.name for p in tmp_path.iterdir()} == {"photos"}


@pytest.mark.parametrize("content", [b"\x89PNG", b"[1]", b'{"photos": 1}'])
def test_evaluate_replaces_nothing_but_an_earlier_result(run, photo_folder, tmp_path, content):
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    refused(run("evaluate", photo_folder, "--json", file), file, "no earlier result")
    assert file.read_bytes() == content


def test_a_failed_write_of_json_leaves_the_old(run, photo_folder, tmp_path, monkeypatch):
    file = tmp_path / "scores.json"
    old = json.dumps({"photos": "p", "protocol": {}, "summary": []})
    file.write_text(old)

    def disk_full(*_):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(os, "replace", disk_full)
    code, _, err = run("evaluate", photo_folder, "--json", file)
    assert code == 1
    assert err == f"srlib: error: [Errno 28] No space left on device: '{file}'\n"
    assert file.read_text() == old
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "scores.json"}


# --- upscale


def test_upscale(run, photo_folder, tmp_path):
    source, target = photo_folder / "photo00.png", tmp_path / "out.png"
    code, out, err = run("upscale", source, target, "--model", "bicubic")
    assert (code, err) == (0, "")
    assert out == f"{target}: 2 times as large, by bicubic\n"
    expected = photo.upscale(smooth_photo(36, 40, 0), models.bicubic())
    with Image.open(target) as image:
        np.testing.assert_array_equal(image, expected)


def test_upscale_uses_a_shipped_network_by_default(run, photo_folder):
    code, out, _ = run("upscale", photo_folder / "photo00.png")
    assert code == 0
    assert out.endswith("by residual-mse\n")
    expected = photo.upscale(smooth_photo(36, 40, 0), srlib.load("residual-mse"))
    with Image.open(photo_folder / "photo00-x2.png") as image:
        np.testing.assert_array_equal(image, expected)


def test_upscale_refuses_bad_input(run, photo_folder, tmp_path):
    source, target = photo_folder / "photo00.png", tmp_path / "out.png"
    fast = ("--model", "bicubic")
    refused(run("upscale", tmp_path / "gone.png", target, *fast), tmp_path / "gone.png")
    (tmp_path / "note.jpg").write_text("no image")
    refused(run("upscale", tmp_path / "note.jpg", target, *fast), tmp_path / "note.jpg")
    refused(run("upscale", source, tmp_path / "out.svg", *fast), tmp_path / "out.svg", ".png")
    refused(run("upscale", source, "-o", source, *fast), source, "input itself")
    refused(run("upscale", source, source, *fast), source, "-o")
    refused(run("upscale", source, target, "--model", "resnet"), "resnet", "residual-mse")
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "note.jpg"}


def test_two_photos_are_no_photo_and_its_result(run, photo_folder):
    first, second = sorted(photo_folder.iterdir())[:2]
    content = second.read_bytes()
    for more in ((), ("--overwrite",)):
        refused(run("upscale", first, second, "--model", "nearest", *more), second, "-o")
        assert second.read_bytes() == content
    code, *_ = run("upscale", first, second, "--model", "nearest", "-o", photo_folder / "large")
    assert code == 0
    assert len(list((photo_folder / "large").iterdir())) == 2
    command = ("upscale", first, "--model", "nearest", "-o", second)
    assert run(*command)[:2] == (0, f"{second}: exists, skipped; --overwrite makes it anew\n")
    assert second.read_bytes() == content
    assert run(*command, "--overwrite")[0] == 0
    assert second.read_bytes() != content


def test_the_last_of_several_folders_is_no_output_to_be_overwritten(run, tmp_path):
    folders = [write_photos(tmp_path / name, 8, 10) for name in "ab"]
    before = {path: path.read_bytes() for path in folders[1].iterdir()}
    refused(run("upscale", *folders, "--model", "nearest", "--overwrite"), folders[1], "-o")
    assert {path: path.read_bytes() for path in folders[1].iterdir()} == before


@pytest.mark.parametrize(("here", "given"), [("a", "."), ("a", "./"), ("a/b", "..")])
def test_a_folder_that_is_named_by_dots(run, tmp_path, monkeypatch, here, given):
    write_photos(tmp_path / "a", 8, 10)
    (tmp_path / "a" / "b").mkdir()
    monkeypatch.chdir(tmp_path / here)
    assert run("upscale", given, "--model", "nearest")[0] == 0
    assert len(list((tmp_path / "a-x2").iterdir())) == 12
    with pytest.raises(PhotoError, match="is a folder; name an image file"):
        photo.upscale(given)


def test_no_input_is_replaced_by_the_result_of_another(run, tmp_path):
    photos = [write_photos(tmp_path / name, 8, 10) / "photo00.png" for name in "xy"]
    content = photos[1].read_bytes()
    command = ("upscale", *photos, "-o", photos[1].parent, "--overwrite", "--model", "nearest")
    code, _, err = run(*command)
    assert code == 1
    line = f"srlib: error: {photos[0]}: would be written to {photos[1]}, which is the input"
    assert err.startswith(f"{line} {photos[1]}; ")
    assert photos[1].read_bytes() == content


def test_upscale_does_a_folder_whatever_is_in_it(run, photo_folder, tmp_path):
    (photo_folder / "note.jpg").write_text("no image")
    out = tmp_path / "out"
    code, printed, err = run("upscale", photo_folder, out, "--model", "bicubic", "--workers", 2)
    assert code == 1
    assert err.startswith(f"srlib: error: {photo_folder / 'note.jpg'}: ")
    assert err.count("\n") == 1
    assert printed == "12 enlarged, 0 skipped (exist; --overwrite makes them anew), 1 failed\n"
    assert len(list(out.iterdir())) == 12
    (out / "photo03.png").unlink()
    (photo_folder / "note.jpg").unlink()
    code, printed, err = run("upscale", photo_folder, out, "--model", "bicubic")
    assert (code, err) == (0, "")
    assert printed.startswith("1 enlarged, 11 skipped")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_upscale_goes_through_a_folder_of_all_that_people_have(run, tmp_path):
    folder, out = tmp_path / "all", tmp_path / "out"
    folder.mkdir()
    corpus.write(folder)
    command = ("upscale", folder, out, "--model", "nearest", "--workers", 3)
    code, printed, err = run(*command)
    assert code == 1
    counted = [int(word) for word in printed.split() if word.isdecimal()]
    done, skipped, failed = counted
    assert done >= 60 and failed >= 20 and skipped == 0
    lines = err.splitlines()
    assert len(lines) == failed
    for line in lines:
        assert line.startswith((f"srlib: error: {folder}/", f"srlib: error: {out}/")), line
        assert len(line.split(": ", 3)) == 4  # the program, the kind, the file, the reason
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == done
    assert not [path for path in written if path.name.startswith(".") or ".part" in path.name]
    code, printed, _ = run(*command)
    assert printed.startswith(f"0 enlarged, {done} skipped")


def test_upscale_passes_every_option_on(run, photo_folder, tmp_path):
    image = Image.fromarray(smooth_photo(20, 24, 0))
    image.save(tmp_path / "in.jpg", comment=b"mine", exif=_exif())
    command = ("upscale", tmp_path / "in.jpg", tmp_path / "out", "--model", "bicubic")
    options = ("--scale", 4, "--format", "png", "--strip", "--tile", 7)
    assert run(*command)[0] == run(*command, *options)[0] == 0
    with Image.open(tmp_path / "out" / "in.jpg") as plain:
        assert plain.size == (48, 40)
        assert plain.getexif()[0x010F] == "camera"
    with Image.open(tmp_path / "out" / "in.png") as image:
        assert image.size == (96, 80)
        assert not image.getexif()
        source = np.asarray(Image.open(tmp_path / "in.jpg"))
        expected = photo.upscale(source, models.bicubic(), 4).astype(int)
        assert np.abs(np.asarray(image) - expected).max() <= 1
    assert run(*command[:2], "-o", tmp_path / "also", *command[3:], "--format", "jpg")[0] == 0
    assert (tmp_path / "also" / "in.jpg").is_file()
    before = (tmp_path / "out" / "in.png").stat().st_mtime_ns
    run(*command, *options, "--overwrite")
    assert (tmp_path / "out" / "in.png").stat().st_mtime_ns > before


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    return exif


def test_shards_share_the_work(run, photo_folder, tmp_path):
    done = []
    for part in (1, 2):
        out = tmp_path / f"out{part}"
        code, *_ = run("upscale", photo_folder, out, "--model", "nearest", "--shard", f"{part}/2")
        assert code == 0
        done += [path.name for path in out.iterdir()]
    assert sorted(done) == sorted(path.name for path in photo_folder.iterdir())


# --- train


@pytest.fixture
def large_photos(tmp_path) -> Path:
    """Twelve photos of 130 pixels."""
    return write_photos(tmp_path / "large", 130, 130)


def small_network(monkeypatch):
    """The smallest residual network under the architecture's name: seconds, not minutes."""
    small = {"blocks": 1, "filters": 4}
    monkeypatch.setitem(
        models.ARCHITECTURES, "residual", lambda **options: models.residual(**(small | options))
    )


def test_another_start_is_another_run(run, large_photos, tmp_path, monkeypatch):
    small_network(monkeypatch)
    tiny = ("--epochs", 1, "--steps", 1, "--batch-size", 2)
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run("train", large_photos, first, *tiny)[0] == 0
    assert run("train", large_photos, second, *tiny, "--start", first)[0] == 0
    assert cards.card(second)["recipe"]["start"].startswith(f"{first}, sha256 ")
    for more in ((), ("--start", second)):
        refused(run("train", large_photos, second, *tiny, *more), "second.run", "(start)")
    other = run("train", large_photos, tmp_path / "o.safetensors", *tiny, "--start", "espcn")
    refused(other, "espcn: cannot be the start of this residual network")


def test_train_then_evaluate_then_resume(run, large_photos, tmp_path, monkeypatch):
    small_network(monkeypatch)
    out_file = tmp_path / "mine.safetensors"
    tiny = ("--epochs", 1, "--steps", 2, "--batch-size", 2, "--seed", 7)
    code, out, err = run("train", large_photos, out_file, *tiny)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"{out_file}: validation PSNR ")
    card = cards.card(out_file)
    assert card["recipe"]["epochs"] == 1
    assert card["recipe"]["seed"] == 7
    assert len(card["history"]) == 1
    used = card["data"]["photos"] + card["data"]["validation"]
    assert used == len(data.photos(large_photos, "train"))
    assert (tmp_path / "mine.run" / "state.json").exists()

    # Once more: nothing is left to train, and the very same weights are written.
    before = out_file.read_bytes()
    out_file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(stream, "dataset", None)
        assert run("train", large_photos, out_file, *tiny)[0] == 0
    assert out_file.read_bytes() == before
    assert cards.card(out_file)["history"] == card["history"]

    refused(run("train", large_photos, out_file, *tiny, "--loss", "mse"), "mine.run", "(loss)")
    assert out_file.read_bytes() == before

    code, out, _ = run("evaluate", large_photos, "--model", out_file)
    assert code == 0
    assert out.splitlines()[-1].startswith(str(out_file))


def stamps(*paths):
    return [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]


def test_train_replaces_nothing_but_its_own(run, large_photos, tmp_path, monkeypatch):
    small_network(monkeypatch)
    out, card = tmp_path / "package.safetensors", tmp_path / "package.json"
    command = ("train", large_photos, out, "--epochs", 1, "--steps", 1, "--batch-size", 2)
    with monkeypatch.context() as patch:
        patch.setattr(data, "photos", None)  # would be a TypeError: refused before training
        for path in (card, out):
            path.write_text('{"name": "mine"}')
            refused(run(*command), f"{path}: exists, and this training has not", "--overwrite")
            assert path.read_text() == '{"name": "mine"}'
            path.unlink()
        card.symlink_to(tmp_path / "unplugged.json")
        refused(run(*command), card, "--overwrite")
        card.unlink()
        assert {path.name for path in tmp_path.iterdir()} == {"large"}
    for path in (card, out):
        path.write_text("old")
    assert run(*command, "--overwrite")[0] == 0
    before = stamps(card, out)
    assert run(*command)[0] == 0  # it is its own
    assert stamps(card, out) == before
    out.unlink()
    card.unlink()
    with monkeypatch.context() as patch:

        def write_one(*arguments, calls=[], **options):  # noqa: B006
            if calls:
                raise KeyboardInterrupt
            calls.append(arguments)
            write_whole(*arguments, **options)

        patch.setattr(zoo, "write_whole", write_one)
        assert run(*command)[0] == 130  # between the two
    assert run(*command)[0] == 0
    assert stamps(out)[0][0] == before[1][0]
    refused(run(*command, "--run-dir", tmp_path / "new"), out, "--overwrite")
    assert not (tmp_path / "new").exists()
    out.write_bytes(before[1][0] + b"changed")
    refused(run(*command), out, "--overwrite")
    assert out.read_bytes().endswith(b"changed")


def test_what_comes_while_training_is_kept(run, large_photos, tmp_path, monkeypatch):
    small_network(monkeypatch)
    out = tmp_path / "mine.safetensors"
    command = ("train", large_photos, out, "--epochs", 1, "--steps", 1, "--batch-size", 2)
    fit = loop.train

    def train(*arguments, **options):
        out.write_text("mine")
        return fit(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", train)
        code, _, err = run(*command)
    assert code == 1 and err.endswith("or pass --overwrite\n")
    assert out.read_text() == "mine"
    out.unlink()
    assert run(*command)[0] == 0


def test_train_needs_a_folder_of_its_own(run, large_photos, tmp_path, monkeypatch):
    small_network(monkeypatch)
    folder, out = tmp_path / "here", tmp_path / "mine.safetensors"
    folder.mkdir()
    for name in ("best-photo.jpg", "film.mkv.part"):
        (folder / name).write_bytes(b"mine")
    tiny = ("--epochs", 1, "--steps", 1, "--batch-size", 2, "--run-dir", folder)
    outcome = run("train", large_photos, out, *tiny)
    refused(outcome, f"{folder}: holds best-photo.jpg and 1 more", "choose another folder")
    inside = folder / "mine.safetensors"
    refused(run("train", large_photos, inside, *tiny), inside, "choose another with --run-dir")
    refused(run("train", large_photos, large_photos.with_suffix(".safetensors"), "--run-dir",
                large_photos), large_photos, "photo00.png and 11 more")  # fmt: skip
    assert {path.name for path in folder.iterdir()} == {"best-photo.jpg", "film.mkv.part"}
    assert len(list(large_photos.iterdir())) == 12
    assert not out.exists()


def test_train_fine_tunes_with_a_perceptual_loss(run, large_photos, tmp_path, monkeypatch):
    small_network(monkeypatch)
    monkeypatch.setenv("SRLIB_VGG16_WEIGHTS", "random")
    tiny = ("--epochs", 1, "--steps", 1, "--batch-size", 2)
    first, second = tmp_path / "pixel.safetensors", tmp_path / "crisp.safetensors"
    assert run("train", large_photos, first, *tiny)[0] == 0
    options = ("--start", first, "--loss", "mse", "--perceptual", 0.5, "--learning-rate", 1e-9)
    code, _, err = run("train", large_photos, second, *tiny, *options)
    assert (code, err) == (0, "")
    assert cards.card(second)["recipe"]["perceptual_weight"] == 0.5
    before, after = (zoo.load(path).get_weights() for path in (first, second))
    for one, other in zip(before, after, strict=True):  # a step of 1e-9 leaves them in place
        np.testing.assert_allclose(one, other, atol=1e-3)
    monkeypatch.setenv("SRLIB_VGG16_WEIGHTS", str(tmp_path / "gone.npz"))
    third = tmp_path / "third.safetensors"
    refused(run("train", large_photos, third, *tiny, "--perceptual", 1), "gone.npz", "no such file")
    assert not third.exists()


def test_evaluate_with_lpips(run, photo_folder, monkeypatch):
    monkeypatch.setenv("SRLIB_LPIPS_WEIGHTS", "random")
    code, out, _ = run("evaluate", photo_folder, "--lpips")
    assert code == 0 and "LPIPS" in out
    monkeypatch.delenv("SRLIB_LPIPS_WEIGHTS")
    refused(run("evaluate", photo_folder, "--lpips"), "SRLIB_LPIPS_WEIGHTS")


def test_train_refuses_bad_input(run, photo_folder, large_photos, tmp_path):
    out_file = tmp_path / "mine.safetensors"
    refused(run("train", large_photos, tmp_path / "mine.h5"), "mine.h5", ".safetensors")
    refused(run("train", tmp_path / "gone", out_file), tmp_path / "gone")
    refused(run("train", photo_folder, out_file), photo_folder, "128 pixels", "40x36")
    # Which photos are for training is decided by their names.
    name = data.photos(large_photos, "train").paths[0].name
    for path in large_photos.iterdir():
        if path.name != name:
            path.unlink()
    refused(run("train", large_photos, out_file), large_photos, "one photo")
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "large"}


# --- export


@pytest.mark.parametrize(("name", "options"), [("net.onnx", ()), ("net", ("--format", "tflite"))])
def test_export(run, tmp_path, name, options):
    code, out, _ = run("export", tmp_path / name, "--model", "espcn", *options)
    assert code == 0
    assert out.startswith(f"{tmp_path / name}")
    assert out.count("\n") == 1
    again = run("export", tmp_path / name, "--model", "espcn", *options)
    refused(again, tmp_path / name, "overwrite")


def test_export_refuses_bad_input(run, tmp_path):
    refused(run("export", tmp_path / "net.onnx", "--model", "resnet"), "resnet", "residual-mse")
    refused(run("export", tmp_path / "gone" / "net.onnx"), tmp_path / "gone")
    assert not list(tmp_path.iterdir())


# --- interruption


def test_ctrl_c_is_code_130(run, photo_folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    before = warnings.showwarning
    code, out, err = run("evaluate", photo_folder)
    assert (code, out, err) == (130, "", "srlib: interrupted\n")
    assert warnings.showwarning is before


def test_a_bug_is_not_disguised(photo_folder, monkeypatch):
    monkeypatch.setattr(evaluation, "evaluate", None)
    before = warnings.showwarning
    with pytest.raises(TypeError):
        main(["evaluate", str(photo_folder)])
    assert warnings.showwarning is before

"""A Classifier on the disk is the one in memory, bit for bit, or it is refused; any kind of image gives one answer."""

from __future__ import annotations

import copy
import io
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from residuum import classifier as classifier_module
from residuum import prediction as prediction_module
from residuum.classifier import Classifier
from residuum.classifier_directory import FORMAT
from residuum.data.preprocess import Preprocessing
from residuum.data.source import ArrayImages, Dataset, Split
from residuum.errors import DamagedError, InputError
from residuum.files.atomic import MANIFEST, read_directory, write_directory
from residuum.nets import catalog
from residuum.nets.resnet import ResNet
from residuum.prediction import PREDICT_BATCH, Prediction, expand, part_size

KOREAN = ("개", "고양이", "<b>새</b>")


def seasoned(net: nn.Module, channels: int, size: int) -> nn.Module:
    """With statistics of its own in every batch normalisation."""
    generator = torch.Generator().manual_seed(3)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(32, channels, size, size, generator=generator))
    return net.eval()


@pytest.fixture(scope="module")
def colour() -> Classifier:
    """resnet20 for 3 classes at 16x16, with a mean image and Korean names."""
    torch.manual_seed(0)
    net = seasoned(catalog.net("resnet20", num_classes=3), 3, 16)
    mean_image = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    preprocessing = Preprocessing(
        channels=3, resize=18, crop=(16, 16), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), mean_image=mean_image
    )
    card = {"seed": 1, "note": "한국어", "metrics": {"val": {"error": 0.1}}}
    return Classifier(net=net, net_name="resnet20", preprocessing=preprocessing, class_names=KOREAN, card=card)


@pytest.fixture
def digits_classifier(tiny_net: ResNet) -> Classifier:
    """The tiny net for grey digits; not in the catalog."""
    return Classifier(
        net=seasoned(tiny_net, 1, 8),
        net_name="conftest.Tiny",
        preprocessing=Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.3,), std=(0.4,)),
        class_names=tuple(str(digit) for digit in range(10)),
    )


class Own(nn.Module):
    """A user's own class."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.fc = nn.Linear(1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(x.mean(dim=(2, 3))))


def own_classifier() -> Classifier:
    torch.manual_seed(1)
    preprocessing = Preprocessing(channels=1, resize=4, crop=(4, 4), mean=(0.5,), std=(0.5,))
    return Classifier(net=Own(), net_name="my.Own", preprocessing=preprocessing, class_names=("a", "b"))


def changed_document(source: Path, target: Path, **changes: Any) -> Path:
    """The directory again, with a right manifest, and some values of classifier.json replaced."""
    files = read_directory(source)
    document = json.loads(files["classifier.json"]) | changes
    write_directory(target, files | {"classifier.json": json.dumps(document).encode()})
    return target


def picture(seed: int = 0, height: int = 30, width: int = 24) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray[Any, Any], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def test_a_saved_classifier_gives_the_same_bits(tmp_path: Path, colour: Classifier) -> None:
    assert colour.save(tmp_path / "c") == tmp_path / "c"
    loaded = Classifier.load(tmp_path / "c")
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded.logits(images), colour.logits(images))
    for name, tensor in colour.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[name], tensor), name
    assert loaded.class_names == KOREAN
    assert loaded.net_name == "resnet20"
    assert loaded.card == colour.card
    assert not loaded.net.training
    was, now = colour.preprocessing, loaded.preprocessing
    assert (now.channels, now.resize, now.crop, now.mean, now.std) == (
        was.channels,
        was.resize,
        was.crop,
        was.mean,
        was.std,
    )
    assert was.mean_image is not None
    assert now.mean_image is not None
    assert now.mean_image.dtype == np.float32
    assert np.array_equal(now.mean_image, was.mean_image)
    assert loaded.predict(picture()) == colour.predict(picture())


def test_a_net_in_channels_last_is_saved_as_well(tmp_path: Path, colour: Classifier) -> None:
    net = catalog.net("resnet20", num_classes=3)
    net.load_state_dict(colour.net.state_dict())
    net.to(memory_format=torch.channels_last)
    replace(colour, net=net).save(tmp_path / "c")
    state = Classifier.load(tmp_path / "c").net.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in colour.net.state_dict().items())


def test_numbers_survive_exactly(tmp_path: Path) -> None:
    """Means and deviations are binary fractions that JSON must not round."""
    one = own_classifier()
    odd = replace(one.preprocessing, mean=(0.1 + 0.2,), std=(1 / 3,))
    replace(one, preprocessing=odd).save(tmp_path / "c")
    loaded = Classifier.load(tmp_path / "c", net=Own()).preprocessing
    assert (loaded.mean, loaded.std) == ((0.1 + 0.2,), (1 / 3,))
    assert loaded.mean_image is None


def test_a_net_of_ones_own_stays_on_its_device(tmp_path: Path, colour: Classifier) -> None:
    """Where images go to; the meta device stands in for a GPU."""
    own_classifier().save(tmp_path / "own")
    colour.save(tmp_path / "colour")
    with pytest.warns(UserWarning, match="meta"):  # which keeps no values
        assert Classifier.load(tmp_path / "own", net=Own().to("meta")).device == torch.device("meta")
    assert Classifier.load(tmp_path / "own", net=Own()).device == torch.device("cpu")
    assert Classifier.load(tmp_path / "colour").device == torch.device("cpu")


def test_nothing_is_overwritten(tmp_path: Path, colour: Classifier) -> None:
    colour.save(tmp_path / "c")
    before = read_directory(tmp_path / "c")
    with pytest.raises(InputError, match="already exists"):
        own_classifier().save(tmp_path / "c")
    assert read_directory(tmp_path / "c") == before


def test_every_damaged_byte_is_refused(tmp_path: Path) -> None:
    path = own_classifier().save(tmp_path / "c")
    tried = 0
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= 1 << position % 8
            file.write_bytes(changed)
            tried += 1
            with pytest.raises(DamagedError):
                Classifier.load(path, net=Own())
        file.write_bytes(whole)
    assert tried > 500
    Classifier.load(path, net=Own())


@pytest.mark.parametrize("name", ["model.safetensors", "classifier.json", "preprocessing.safetensors", MANIFEST])
def test_a_missing_file_is_refused(tmp_path: Path, colour: Classifier, name: str) -> None:
    (colour.save(tmp_path / "c") / name).unlink()
    with pytest.raises(DamagedError, match=name):
        Classifier.load(tmp_path / "c")


@pytest.mark.parametrize("extra", [{}, {"a_new_field": 1}], ids=["same fields", "new fields"])
def test_a_newer_format_is_refused_as_such(tmp_path: Path, extra: dict[str, Any]) -> None:
    source = own_classifier().save(tmp_path / "c")
    newer = changed_document(source, tmp_path / "newer", format=FORMAT + 1, **extra)
    with pytest.raises(InputError, match=rf"format {FORMAT + 1} .*up to {FORMAT}"):
        Classifier.load(newer, net=Own())


@pytest.mark.parametrize(
    "changes", [{"format": "x"}, {"class_names": 3}, {"preprocessing": {}}, {"card": []}, {"unknown": 1}], ids=str
)
def test_a_document_of_another_shape_is_damaged(tmp_path: Path, changes: dict[str, Any]) -> None:
    source = own_classifier().save(tmp_path / "c")
    with pytest.raises(DamagedError) as caught:
        Classifier.load(changed_document(source, tmp_path / "odd", **changes), net=Own())
    assert "\n" not in str(caught.value)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", {"a": b"1"})
    with pytest.raises(DamagedError, match="not a Classifier"):
        Classifier.load(tmp_path / "d")
    with pytest.raises(InputError, match="is not a Run or Classifier directory"):
        Classifier.load(tmp_path)
    for nothing in (tmp_path / "nowhere", tmp_path / "d" / "a"):
        with pytest.raises(InputError, match="no such directory"):
            Classifier.load(nothing)


def test_an_own_net_needs_an_instance(tmp_path: Path) -> None:
    one = own_classifier()
    path = one.save(tmp_path / "c")
    with pytest.raises(InputError, match=r"my\.Own.*net="):
        Classifier.load(path)
    loaded = Classifier.load(path, net=Own())
    x = torch.rand(3, 1, 4, 4)
    with torch.inference_mode():
        assert torch.equal(loaded.logits(x), one.logits(x))
    for other in (Own(outputs=3), nn.Conv2d(1, 2, 1)):
        with pytest.raises(InputError, match="do not fit") as caught:
            Classifier.load(path, net=other)
        assert "\n" not in str(caught.value)


def test_weights_of_another_net_do_not_fit(tmp_path: Path, colour: Classifier) -> None:
    source = colour.save(tmp_path / "c")
    for number, changes in enumerate(({"net": "resnet32"}, {"class_names": ["a", "b"]})):
        with pytest.raises(InputError, match="do not fit"):
            Classifier.load(changed_document(source, tmp_path / str(number), **changes))


def test_what_no_net_can_have_is_damaged_and_named(tmp_path: Path, colour: Classifier) -> None:
    source = colour.save(tmp_path / "c")
    preprocessing = json.loads(read_directory(source)["classifier.json"])["preprocessing"]
    for number, changes in enumerate(
        ({"class_names": []}, {"preprocessing": preprocessing | {"channels": 10**30}}, {"temperature": 0})
    ):
        with pytest.raises(DamagedError, match=rf"odd{number}: is not a Classifier directory"):
            Classifier.load(changed_document(source, tmp_path / f"odd{number}", **changes))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, colour: Classifier) -> None:
    net = copy.deepcopy(colour.net)
    net.get_parameter("fc.bias").data[1] = float("nan")
    path = replace(colour, net=net).save(tmp_path / "c")
    with pytest.raises(InputError, match=r"c: its weights do not fit resnet20 \(1 not finite: fc\.bias\). Try: "):
        Classifier.load(path)


def test_every_kind_of_image_gives_the_same_answer(tmp_path: Path, colour: Classifier) -> None:
    pixels = picture()
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    path.write_bytes(encoded(pixels))
    kinds = [path, str(path), path.parent, str(path.parent), path.read_bytes(), Image.fromarray(pixels), pixels]
    expected = colour.predict(pixels)[0].top
    assert len(expected) == 3
    assert sum(probability for _, probability in expected) == pytest.approx(1)
    assert [p for _, p in expected] == sorted((p for _, p in expected), reverse=True)
    for kind in kinds:
        assert [each.top for each in colour.predict(kind)] == [expected], type(kind)
    together = colour.predict([path, pixels, path.parent, path.read_bytes()])
    assert [[name for name, _ in each.top] for each in together] == [[name for name, _ in expected]] * 4
    for each in together:
        assert [p for _, p in each.top] == pytest.approx([p for _, p in expected], rel=1e-5)
    assert together[0].source == str(path)
    assert together[0].class_name == expected[0][0]


def test_grey_arrays_of_two_and_three_axes(colour: Classifier, digits_classifier: Classifier) -> None:
    grey = picture()[:, :, 0]
    for classifier in (colour, digits_classifier):
        two, three = classifier.predict(grey)[0], classifier.predict(grey[:, :, None])[0]
        assert two.top == three.top
    as_colour = np.repeat(grey[:, :, None], 3, axis=2)
    assert colour.predict(as_colour)[0].top == colour.predict(grey)[0].top
    luma = np.asarray(Image.fromarray(picture()).convert("L"))
    assert digits_classifier.predict(picture())[0].top == digits_classifier.predict(luma)[0].top


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 3), dtype=np.float32),
        np.zeros((8, 8), dtype=bool),
        np.zeros((8, 8), dtype=np.int64),
        np.zeros((8, 8), dtype=np.uint16),
        np.zeros((3, 8, 8), dtype=np.uint8),
        np.zeros((8, 8, 2), dtype=np.uint8),
        np.zeros((8, 8, 4), dtype=np.uint8),
        np.zeros((2, 8, 8, 3), dtype=np.uint8),
        np.zeros(8, dtype=np.uint8),
        np.zeros((), dtype=np.uint8),
        np.zeros((0, 8), dtype=np.uint8),
        np.zeros((8, 0, 3), dtype=np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_other_arrays_are_refused(colour: Classifier, array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InputError, match="image 1"):
        colour.predict([picture(), array])


@pytest.mark.parametrize("content", [b"", b"no image", encoded(picture())[:200], encoded(picture(), "JPEG")[:400]])
def test_images_that_cannot_be_read_are_named(tmp_path: Path, colour: Classifier, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.png"):
        colour.predict(tmp_path / "x.png")
    with pytest.raises(InputError, match="image 1"):
        colour.predict([picture(), content])


def test_a_pil_image_that_is_cut_is_refused_as_well(colour: Classifier) -> None:
    """PIL reads the pixels only when they are asked for."""
    large = encoded(picture(height=300, width=300), "JPEG")
    with Image.open(io.BytesIO(large[: len(large) // 2])) as cut, pytest.raises(InputError, match="image 0"):
        colour.predict(cut)
    with pytest.raises(InputError):
        colour.predict(Image.new("F", (8, 8)))


def test_nothing_to_predict_is_refused(tmp_path: Path, colour: Classifier) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for nothing in ([], (), iter(())):
        with pytest.raises(InputError, match="none were given"):
            colour.predict(nothing)
    with pytest.raises(InputError, match="holds no image files"):
        colour.predict(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        colour.predict(tmp_path / "nowhere.png")


def test_a_folder_is_taken_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/z.PNG", "c.jpg", "a/a.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(picture()))
    names = [Path(str(item)).relative_to(tmp_path).as_posix() for item in expand(tmp_path)]
    assert names == ["a/a.png", "a/z.PNG", "b/2.png", "c.jpg"]


def test_many_images_keep_their_order_and_are_reported(digits_classifier: Classifier) -> None:
    images = [picture(seed)[:, :, 0] for seed in range(70)]
    seen: list[tuple[int, int]] = []
    found = digits_classifier.predict(iter(images), top=2, on_images=lambda done, total: seen.append((done, total)))
    assert seen == [(32, 70), (64, 70), (70, 70)]
    assert [each.source for each in found] == [f"image {number}" for number in range(70)]
    for number in (0, 31, 32, 69):
        alone = digits_classifier.predict(images[number], top=2)[0]
        assert [name for name, _ in found[number].top] == [name for name, _ in alone.top]
        assert found[number].probability == pytest.approx(alone.probability, rel=1e-5)


@pytest.mark.parametrize(("top", "given"), [(1, 1), (3, 3), (99, 3)])
def test_as_many_classes_as_asked_for(colour: Classifier, top: int, given: int) -> None:
    assert len(colour.predict(picture(), top=top)[0].top) == given


@pytest.mark.parametrize("top", [0, -1])
def test_no_classes_at_all_is_refused(colour: Classifier, top: int) -> None:
    with pytest.raises(InputError, match="top"):
        colour.predict(picture(), top=top)


def test_prediction_reads_its_first_entry() -> None:
    one = Prediction("x", (("b", 0.75), ("a", 0.25)))
    assert (one.class_name, one.probability) == ("b", 0.75)


def test_predict_equals_evaluate(digits_classifier: Classifier, digits_data: Dataset) -> None:
    split = digits_data.split("val")
    assert isinstance(split.images, ArrayImages)
    found = digits_classifier.predict([*split.images.array], top=10)
    metrics = digits_classifier.evaluate(split, digits_data.class_names)
    answers = np.array([int(each.class_name) for each in found])
    confusion = np.zeros((10, 10), dtype=np.int64)
    np.add.at(confusion, (split.labels, answers), 1)
    assert np.array_equal(metrics.confusion, confusion)
    likelihoods = [dict(each.top)[str(label)] for each, label in zip(found, split.labels, strict=True)]
    assert metrics.loss == pytest.approx(-np.log(likelihoods).mean(), rel=1e-5)
    five = [str(label) in [name for name, _ in each.top[:5]] for each, label in zip(found, split.labels, strict=True)]
    assert metrics.top5 == np.mean(five)


@pytest.mark.parametrize("views", ["10", "multi-scale"])
def test_predict_equals_evaluate_in_several_views(colour: Classifier, views: Any) -> None:
    pixels = np.stack([picture(seed, 20, 20) for seed in range(3)])
    split = Split("s", ArrayImages(pixels), np.array([0, 1, 2]))
    found = colour.predict([*pixels], views=views)
    metrics = colour.evaluate(split, views=views)
    right = [each.class_name == KOREAN[label] for each, label in zip(found, split.labels, strict=True)]
    assert metrics.top1 == np.mean(right)
    likelihoods = [dict(each.top)[KOREAN[label]] for each, label in zip(found, split.labels, strict=True)]
    assert metrics.loss == pytest.approx(-np.log(likelihoods).mean(), rel=1e-5)


def test_a_net_left_in_training_mode_is_used_in_eval_mode(digits_classifier: Classifier, digits_data: Dataset) -> None:
    split = digits_data.split("val")
    expected = digits_classifier.evaluate(split)
    image = split.images.load(0)
    prediction = digits_classifier.predict(image)
    before = {name: tensor.clone() for name, tensor in digits_classifier.net.state_dict().items()}
    digits_classifier.net.train()
    assert digits_classifier.predict(image) == prediction
    digits_classifier.net.train()
    assert np.array_equal(digits_classifier.evaluate(split).confusion, expected.confusion)
    after = digits_classifier.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_a_prepared_net_says_the_same(
    digits_classifier: Classifier, digits_data: Dataset, precision: Any, tolerance: float
) -> None:
    """Of many images at once, by a prepared copy of the net, and of each alone, by the net."""
    images = [digits_data.split("val").images.load(index) for index in range(40)]
    found = digits_classifier.predict(images, top=10, precision=precision)
    for image, together in zip(images, found, strict=True):
        alone = digits_classifier.predict(image, top=10)[0]
        expected = dict(alone.top)
        assert all(abs(p - expected[name]) < tolerance for name, p in together.top)
        if alone.top[0][1] - alone.top[1][1] > 2 * tolerance:
            assert together.class_name == alone.class_name


def test_predict_leaves_the_net_as_it_was(digits_classifier: Classifier) -> None:
    net = digits_classifier.net
    before = {name: (id(value), value.clone()) for name, value in net.state_dict(keep_vars=True).items()}
    net.train()
    for precision in ("fp32", "bf16", "auto"):
        for count in (1, 40):
            digits_classifier.predict([picture(seed)[:, :, 0] for seed in range(count)], precision=precision)  # type: ignore[arg-type]
    assert all(module.training for module in net.modules())
    for name, value in net.state_dict(keep_vars=True).items():
        assert id(value) == before[name][0]
        assert value.dtype == before[name][1].dtype
        assert torch.equal(value, before[name][1])


@pytest.mark.parametrize("count", [1, 40])
def test_an_unknown_precision_is_refused(digits_classifier: Classifier, count: int) -> None:
    with pytest.raises(InputError, match=r"precision: 'half' is not known .* Try: "):
        digits_classifier.predict([picture()] * count, precision="half")  # type: ignore[arg-type]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of 70 images."""
    for number in range(70):
        (tmp_path / f"{number:02}.png").write_bytes(encoded(picture(number)))
    return tmp_path


def in_threads(threads: int, done: Callable[[], list[Prediction]]) -> list[Prediction]:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        return done()
    finally:
        assert torch.get_num_threads() == threads
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("views", ["1", "10"])
def test_answers_do_not_depend_on_threads(many: Path, colour: Classifier, precision: Any, views: Any) -> None:
    items = [*sorted(many.iterdir())[:35], picture(1, 20, 20)] if views == "1" else [picture(1, 20, 20)] * 32
    found = [
        in_threads(threads, lambda: colour.predict(items, views=views, precision=precision)) for threads in (1, 2, 3)
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_a_folder_in_order_with_what_cannot_be_read(
    many: Path, digits_classifier: Classifier, threads: int, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_module, "shareable", lambda net, device: shared)
    monkeypatch.setattr(prediction_module, "decoding_threads", lambda: 2)
    broken = ["00", *(f"{number:02}" for number in range(32, 41)), "69"]
    for name in broken:
        (many / f"{name}.png").write_bytes(b"nothing")
    told: list[str] = []
    done: list[tuple[int, int]] = []
    here = threading.get_ident()

    def unreadable(error: InputError) -> None:
        assert threading.get_ident() == here
        told.append(Path(str(error).split(":")[0]).stem)

    def seen(images: int, total: int) -> None:
        assert threading.get_ident() == here
        done.append((images, total))

    found = in_threads(threads, lambda: digits_classifier.predict(many, on_unreadable=unreadable, on_images=seen))
    assert [Path(each.source).stem for each in found] == sorted({f"{number:02}" for number in range(70)} - {*broken})
    assert told == broken
    assert done == sorted(done)
    assert done[-1] == (70, 70)
    with pytest.raises(InputError, match=r"00\.png: is not an image"):
        digits_classifier.predict(many)


def test_what_somebody_holds_is_read_in_their_thread(
    digits_classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, seen = threading.get_ident(), set()
    original = prediction_module.decode_image

    def decode_image(image: Image.Image, **given: Any) -> Any:
        seen.add(threading.get_ident())
        return original(image, **given)

    monkeypatch.setattr(prediction_module, "decode_image", decode_image)
    held = [Image.fromarray(picture(number)) for number in range(40)]
    with_held = digits_classifier.predict(held)
    assert seen == {here}
    alone = [digits_classifier.predict(image)[0].class_name for image in held]
    assert [each.class_name for each in with_held] == alone


def test_an_interruption_ends_the_work(many: Path, digits_classifier: Classifier) -> None:
    digits_classifier.net.train()
    before = torch.get_num_threads(), threading.active_count()

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digits_classifier.predict(many, on_images=interrupted)
    assert (torch.get_num_threads(), threading.active_count()) == before
    assert all(module.training for module in digits_classifier.net.modules())
    digits_classifier.net.eval()


def test_parts_are_few_images() -> None:
    assert part_size((224, 224), "1") == 8
    assert part_size((32, 32), "1") == PREDICT_BATCH
    assert part_size((1024, 1024), "1") == part_size((32, 32), "10") == 1


def test_classes_of_imagenet_may_be_called_by_their_wordnet_ids(digits_classifier: Classifier) -> None:
    names = ("goldfish", "tench", *digits_classifier.class_names[2:])
    fish = replace(digits_classifier, class_names=names)
    assert fish.own_labels(np.array([0, 1, 1, 2]), ("n01440764", "goldfish", "5")).tolist() == [1, 0, 0, 5]
    with pytest.raises(InputError, match=r"does not know: great white shark"):
        fish.own_labels(np.array([0]), ("n01484850",))


def test_labels_are_matched_by_name(digits_classifier: Classifier, digits_data: Dataset) -> None:
    split = digits_data.split("val")
    expected = digits_classifier.evaluate(split)
    order = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    names = tuple(str(order[label]) for label in range(10))
    position = np.argsort(order)
    shuffled = Split("s", split.images, position[split.labels])
    assert not np.array_equal(shuffled.labels, split.labels)
    found = digits_classifier.evaluate(shuffled, names)
    assert np.array_equal(found.confusion, expected.confusion)
    assert found.loss == pytest.approx(expected.loss)
    assert digits_classifier.evaluate(shuffled).top1 != found.top1


def test_a_data_set_may_have_fewer_classes(digits_classifier: Classifier, digits_data: Dataset) -> None:
    split = digits_data.split("val")
    some = split.subset(np.flatnonzero(np.isin(split.labels, (7, 2))))
    renamed = Split("s", some.images, np.where(some.labels == 7, 0, 1))
    expected, found = digits_classifier.evaluate(some), digits_classifier.evaluate(renamed, ("7", "2"))
    assert np.array_equal(found.confusion, expected.confusion)
    assert found.confusion.shape == (10, 10)


def test_unknown_classes_and_other_channels_are_refused(
    digits_classifier: Classifier, colour: Classifier, digits_data: Dataset
) -> None:
    split = digits_data.split("val")
    with pytest.raises(InputError, match=r"does not know: owl"):
        digits_classifier.evaluate(split, (*digits_data.class_names[:9], "owl"))
    for use in (colour.evaluate, colour.calibrated):
        with pytest.raises(InputError, match=r"1 channels \(expected 3\)"):
            use(split)


def test_two_classes_of_one_name_are_refused_only_where_they_are_meant(
    digits_classifier: Classifier, digits_data: Dataset
) -> None:
    twins = replace(digits_classifier, class_names=(*digits_data.class_names[:8], "twin", "twin"))
    split = digits_data.split("val")
    few = split.subset(np.flatnonzero(split.labels < 2))
    assert twins.evaluate(few, ("0", "1")).num_images == len(few)
    with pytest.raises(InputError, match=r"its class twin cannot be matched by name.*Try: "):
        twins.evaluate(few, ("0", "twin"))

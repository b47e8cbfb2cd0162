"""A Classifier goes to the hub and comes back; what goes wrong is one line. The hub is a server on this machine."""

from __future__ import annotations

import copy
import errno
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hub_server import Hub, running_hub
from residuum.classifier import Classifier
from residuum.deploy.hub import FILES, fetch, push, repository
from residuum.errors import DamagedError, InputError, ResiduumError, StorageError
from residuum.references import load, untrained
from to_give import make

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
        yield server


def one_line(error: pytest.ExceptionInfo[ResiduumError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert "Try: " in message
    return message


def test_what_is_pushed_is_what_is_fetched(hub: Hub) -> None:
    classifier = make("resnet20", size=12, mean_image=True)
    assert push(classifier, "me/cats", private=True, license="Apache-2.0") == f"{hub.url}/me/cats"
    assert set(hub.repositories["me/cats"]) == {*FILES, "README.md"}
    assert hub.private == {"me/cats": True}
    assert hub.commits == [("resnet20, by residuum", "Bearer hf_test")], "all files in one commit"
    hub.repositories["me/cats"]["harmful.py"] = b"raise SystemExit"
    directory = fetch("me/cats")
    assert {each.name for each in directory.iterdir()} == set(FILES), "nothing else is taken"
    back = Classifier.load(directory)
    for name, tensor in classifier.net.state_dict().items():
        assert torch.equal(tensor, back.net.state_dict()[name])
    assert back.class_names == classifier.class_names
    assert back.card == classifier.card


def test_it_is_fetched_once(hub: Hub) -> None:
    push(make("resnet20", size=12), "me/cats")
    first = fetch("hub:me/cats")
    count = len(hub.fetched)
    assert fetch("me/cats") == first
    assert fetch(f"me/cats@{hub.version('me/cats')}") == first
    assert len(hub.fetched) == count


def test_a_new_version_replaces_all_of_the_old_one(hub: Hub) -> None:
    push(make("resnet20", size=12, mean_image=True), "me/cats")
    first = Classifier.load(fetch("me/cats"))
    push(make("resnet20", size=16), "me/cats")
    assert set(hub.repositories["me/cats"]) == {*FILES, "README.md"} - {"preprocessing.safetensors"}
    second = Classifier.load(fetch("me/cats"))
    assert (first.preprocessing.crop, second.preprocessing.crop) == ((12, 12), (16, 16))


def test_offline_nobody_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    push(make("resnet20", size=12), "me/cats")
    first = fetch("me/cats")
    monkeypatch.setenv("RESIDUUM_OFFLINE", "1")
    asked = (len(hub.tokens), len(hub.fetched))
    assert fetch("me/cats") == first
    with pytest.raises(ResiduumError, match="hub:me/dogs: the hub cannot be reached, and the cache"):
        fetch("me/dogs")
    with pytest.raises(InputError, match=r"hub:me/cats: RESIDUUM_OFFLINE forbids to ask the network. Try: without it"):
        push(make("resnet20", size=12), "me/cats")
    assert (len(hub.tokens), len(hub.fetched)) == asked


def test_a_net_of_your_own_comes_back_as_its_card_says(hub: Hub) -> None:
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))
    push(make(net, size=4), "me/own")
    back = load("hub:me/own", net=copy.deepcopy(net))
    assert torch.equal(back.net.state_dict()["2.weight"], net.state_dict()["2.weight"])


def test_a_full_disk_is_not_taken_for_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str) -> None:
        raise StorageError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("residuum.deploy.hub.write_file", full)
    with pytest.raises(StorageError, match="No space left"):
        push(make("resnet20", size=12), "me/cats")
    assert hub.commits == []


def test_a_cache_that_cannot_be_written_is_not_taken_for_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.HfApi, "snapshot_download", full)
    with pytest.raises(StorageError, match="No space left"):
        fetch("me/cats")


def test_a_card_that_the_hub_refuses_is_not_taken_for_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ValueError("Invalid metadata in README.md: license")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", refused)
    with pytest.raises(InputError, match=r"refuses the card .* Try: --license apache-2.0"):
        push(make("resnet20", size=12), "me/cats", license="my-own")


def test_without_a_network_the_cache_serves(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    push(make("resnet20", size=12), "me/cats")
    first = fetch("me/cats")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch("me/cats") == first
    with pytest.raises(ResiduumError, match="hub:me/dogs: the hub cannot be reached, and the cache") as error:
        fetch("me/dogs")
    one_line(error)
    with pytest.raises(ResiduumError, match="hub:me/cats: the hub cannot be reached") as error:
        push(make("resnet20", size=12), "me/cats")
    one_line(error)


def test_a_damaged_file_is_refused(hub: Hub) -> None:
    push(make("resnet20", size=12), "me/cats")
    content = bytearray(hub.repositories["me/cats"]["model.safetensors"])
    content[-1] ^= 1
    hub.repositories["me/cats"]["model.safetensors"] = bytes(content)
    with pytest.raises(DamagedError, match="sha256 differs"):
        Classifier.load(fetch("me/cats"))


def test_what_is_not_there_is_said(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"hub:me/none: no such repository, or a private one") as error:
        fetch("me/none")
    one_line(error)
    hub.repositories["me/other"] = {"pytorch_model.bin": b"x", "config.json": b"{}"}
    with pytest.raises(InputError, match=r"hub:me/other: is not a Classifier of residuum") as error:
        fetch("me/other")
    one_line(error)
    hub.repositories["me/part"] = {"classifier.json": b"{}"}
    with pytest.raises(InputError, match=r"hub:me/part: is not a Classifier of residuum \(it has no manifest.json\)"):
        fetch("me/part")
    push(make("resnet20", size=12), "me/cats")
    with pytest.raises(InputError, match=r"hub:me/cats: has no such revision. Try: without @"):
        fetch("me/cats@v9")


@pytest.mark.parametrize(("status", "said"), [(401, "hf auth login"), (403, "refuses this token"), (500, "hub fails")])
def test_a_hub_that_refuses(hub: Hub, status: int, said: str) -> None:
    hub.refuses = status
    with pytest.raises(ResiduumError, match=said) as error:
        push(make("resnet20", size=12), "me/cats")
    one_line(error)


def test_no_token_is_said_before_anything_is_sent(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match=r"token: the hub wants one to write. Try: hf auth login") as error:
        push(make("resnet20", size=12), "me/cats")
    one_line(error)
    assert hub.tokens == []


@pytest.mark.parametrize(
    "name", ["", "cats", "a/b/c", "../cats", "me/", "me/ca ts", "me/..", "me/a--b", "x/" + "y" * 200]
)
def test_what_is_no_name_is_refused_before_anything_is_sent(name: str, hub: Hub) -> None:
    for function in (fetch, repository):
        with pytest.raises(InputError, match=r"expected owner/name") as error:
            function(name)
        one_line(error)
    with pytest.raises(InputError, match=r"expected owner/name"):
        push(make("resnet20", size=12), name)
    assert hub.tokens == []


def test_untrained_nets_and_odd_licences_stay_here(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"resnet20 is untrained. Try: a Run"):
        push(untrained("resnet20"), "me/cats")
    with pytest.raises(InputError, match=r"license: 'all: rights' is no name of a licence"):
        push(make("resnet20", size=12), "me/cats", license="all: rights")
    assert hub.tokens == []


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"hub: needs huggingface_hub, .*Try: pip install 'residuum\[weights\]'"):
        fetch("me/cats")


def test_the_readme_names_the_repository(hub: Hub) -> None:
    classifier = make("resnet20", size=12)
    push(classifier, "me/cats", license="MIT")
    readme = hub.repositories["me/cats"]["README.md"].decode()
    header, _, body = readme.removeprefix("---\n").partition("\n---\n")
    values = {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in header.splitlines()}
    assert values["license"] == "mit"
    assert values["datasets"] == ["uoft-cs/cifar10"]
    assert 'residuum.load("hub:me/cats")' in body

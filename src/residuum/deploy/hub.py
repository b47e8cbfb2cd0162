"""Classifiers on the Hugging Face hub: `push` one, `fetch` one.

A repository holds the files of a Classifier directory and a README written from its card. Fetching takes those files
alone, whatever else lies there; `Classifier.load` checks them against their manifest and executes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from residuum.classifier import Classifier
from residuum.deploy.description import plain_preprocessing
from residuum.errors import InputError, ResiduumError, missing_extra
from residuum.files.atomic import MANIFEST, storage_error, write_file
from residuum.files.download import cache_directory
from residuum.nets import catalog
from residuum.report.card import CardFacts, model_card
from residuum.weights.fetch import OFFLINE, is_offline

FILES = (MANIFEST, "classifier.json", "model.safetensors", "preprocessing.safetensors")
OPTIONAL_FILE = "preprocessing.safetensors"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.ASCII)
EXTRA = "weights"
LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}  # of a full or read-only cache, not of a network
PREFIX = "hub:"


def push(
    classifier: Classifier,
    name: str,
    *,
    private: bool = False,
    license: str | None = None,
) -> str:
    """Put a Classifier on the hub, in one commit, with a README written from its card.

    Args:
        classifier: a trained one.
        name: `owner/name` of the repository; made where there is none, a new version where there is one.
        private: whether a new repository is seen by its owner alone.
        license: of the weights, as the hub names it, such as `apache-2.0`; what the card says by default.

    Returns:
        The address of the repository.

    Raises:
        InputError: the name is no `owner/name`, the net is untrained, no token is known, the hub refuses, or
            huggingface_hub is not installed.
        ResiduumError: the hub cannot be reached.
    """
    name = repository(name)
    if classifier.card.get("weights") == "untrained":
        raise InputError(f"model: {classifier.net_name} is untrained. Try: a Run or Classifier directory")
    license = license or _text(classifier.card.get("license") or classifier.card.get("licence"))
    if license is not None and not LICENSE.fullmatch(license.lower()):
        raise InputError(f"license: {license!r} is no name of a licence on the hub. Try: apache-2.0")
    readme = model_card(facts(classifier, name, license=license and license.lower()))
    hub = _hub()
    if is_offline():
        raise InputError(f"{PREFIX}{name}: {OFFLINE} forbids to ask the network. Try: without it")
    if not hub.get_token():
        raise InputError("token: the hub wants one to write. Try: hf auth login, or HF_TOKEN=... in the environment")
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with tempfile.TemporaryDirectory() as temporary:
        directory = classifier.save(Path(temporary) / "classifier")
        write_file(directory / "README.md", readme)
        with _one_line(name):
            address = str(api.create_repo(name, private=private, exist_ok=True))
            files = {each.name: each for each in sorted(directory.iterdir())}
            operations = [hub.CommitOperationAdd(each, path) for each, path in files.items()]
            if OPTIONAL_FILE not in files and api.file_exists(name, OPTIONAL_FILE):
                operations.append(hub.CommitOperationDelete(OPTIONAL_FILE))
            try:
                api.create_commit(name, operations, commit_message=f"{classifier.net_name}, by residuum")
            except ValueError as error:  # what stands at the head of the README is not to its liking
                raise InputError(
                    f"{PREFIX}{name}: the hub refuses the card ({_reason(error)}). Try: --license apache-2.0"
                ) from error
    return address


def fetch(name: str) -> Path:
    """The Classifier directory of a repository on the hub, from the cache where it has not changed.

    `RESIDUUM_OFFLINE=1` takes it from the cache without asking.

    Args:
        name: `owner/name`, or `owner/name@revision` for a branch, tag or commit.

    Raises:
        InputError: the name is no `owner/name`, there is no such repository or revision, it holds no Classifier, or
            huggingface_hub is not installed.
        ResiduumError: the hub cannot be reached, and the cache does not hold it.
    """
    path, _, revision = name.removeprefix(PREFIX).partition("@")
    path = repository(path)
    hub = _hub()
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with _without_bars(), _one_line(path):
        found = api.snapshot_download(
            path,
            revision=revision or None,
            cache_dir=cache_directory() / "hub",
            allow_patterns=list(FILES),
            local_files_only=is_offline(),
        )
    directory = Path(found)
    lacking = [each for each in FILES if each != OPTIONAL_FILE and not (directory / each).is_file()]
    if lacking:
        raise InputError(f"{PREFIX}{path}: is not a Classifier of residuum (it has no {lacking[0]}). Try: another name")
    return directory


def repository(name: str) -> str:
    """`owner/name`, without the `hub:` of a model reference.

    Raises:
        InputError: it is not of that form.
    """
    found = name.removeprefix(PREFIX)
    if not NAME.fullmatch(found) or len(found) > 96 or ".." in found or "--" in found:
        raise InputError(
            f"hub: {found[:100]!r} is no name of a repository (expected owner/name). Try: me/resnet20-cifar10"
        )
    return found


def facts(
    classifier: Classifier,
    name: str,
    *,
    license: str | None = None,
) -> CardFacts:
    """What the README of a Classifier is written from."""
    entry = catalog.find(classifier.net_name)
    preprocessing = plain_preprocessing(replace(classifier.preprocessing, mean_image=None))
    return CardFacts(
        hub_name=name,
        net=classifier.net_name,
        paper=entry.published.paper if entry else None,
        parameters=sum(parameter.numel() for parameter in classifier.net.parameters()),
        class_names=classifier.class_names,
        preprocessing=preprocessing | {"mean_image": classifier.preprocessing.mean_image is not None},
        temperature=classifier.temperature,
        card=classifier.card,
        license=license,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _hub() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise missing_extra("hub", "huggingface_hub", EXTRA) from error


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """The client's progress bars off, and back as they were."""
    bars = importlib.import_module("huggingface_hub.utils")
    were_off = bars.are_progress_bars_disabled()
    bars.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            bars.enable_progress_bars()


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """What the hub's client raises, in one line."""
    from huggingface_hub import errors

    try:
        yield
    except ResiduumError:
        raise
    except errors.GatedRepoError as error:
        raise InputError(f"{PREFIX}{name}: asks its users to agree to its terms. Try: its page, logged in") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{PREFIX}{name}: no such repository, or a private one. Try: its exact name, or hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{PREFIX}{name}: has no such revision. Try: without @") from error
    except errors.LocalEntryNotFoundError as error:
        raise ResiduumError(
            f"{PREFIX}{name}: the hub cannot be reached, and the cache does not hold it. Try: with a network"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise InputError(f"{PREFIX}{name}: the hub refuses this token ({status}). Try: hf auth login") from error
        raise ResiduumError(f"{PREFIX}{name}: the hub fails ({_reason(error)}). Try: again later") from error
    except Exception as error:  # its HTTP library is another one in each of its great versions
        if isinstance(error, OSError) and error.errno in LOCAL:
            raise storage_error(cache_directory(), error) from error
        raise ResiduumError(f"{PREFIX}{name}: the hub cannot be reached ({_reason(error)}). Try: a network") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

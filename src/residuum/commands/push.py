"""`residuum push`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from residuum.commands.options import open_model


@dataclass(frozen=True)
class Push:
    """Put a trained model on the Hugging Face hub, with a model card written from what is known of it."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A Run directory, a Classifier directory, or another model reference."""
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """The repository; it is made where there is none."""
    private: bool = False
    """A new repository is seen by its owner alone."""
    license: str | None = None
    """Licence of the weights, as the hub names it, such as apache-2.0."""

    def run(self) -> int:
        from residuum.deploy.hub import push, repository
        from residuum.report.progress import ConsoleProgress

        name = repository(self.name)
        with ConsoleProgress() as progress:
            classifier = open_model(self.model, progress)
            address = push(classifier, name, private=self.private, license=self.license)
        print(f'{address}\nresiduum.load("hub:{name}")')
        return 0

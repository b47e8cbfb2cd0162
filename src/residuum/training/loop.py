"""The training loop: steps, epochs, checkpoints, until the recipe's last step.

The state of a training is the net, the optimizer's momentum and a `Progress`; everything else is a function of
recipe, data, seed and step. Therefore a loop that starts from a checkpoint makes the same bits as one that was never
stopped.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.data.batches import TrainingBatches
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset, Split
from residuum.errors import Interrupted, TrainingError
from residuum.evaluation import Metrics, evaluate
from residuum.run import Run
from residuum.training.checkpoint import Progress, circumstances, pack, unpack
from residuum.training.observer import Observer
from residuum.training.recipe import Execution, Recipe
from residuum.training.schedules import after_epoch, after_step, rate
from residuum.training.signals import StopRequest


class _Stopped(Exception):
    """Raised inside an evaluation when somebody asks to stop."""


class Loop:
    """One training in this process.

    Args:
        run: where checkpoints and metrics go; its lock is held by the caller.
        net: on its device, in channels-last layout.
        dataset: with the splits the recipe asks for.
        preprocessing: of the net.
        recipe, execution, seed: what to do and how.
        observer: who is told.
    """

    def __init__(
        self,
        run: Run,
        net: nn.Module,
        dataset: Dataset,
        preprocessing: Preprocessing,
        *,
        recipe: Recipe,
        execution: Execution,
        seed: int,
        device: torch.device,
        observer: Observer,
    ) -> None:
        self.run, self.net, self.dataset, self.preprocessing = run, net, dataset, preprocessing
        self.recipe, self.execution, self.seed = recipe, execution, seed
        self.device, self.observer = device, observer
        self.num_classes = len(dataset.class_names)
        self.steps = recipe.num_steps(len(dataset.train))
        self.progress = Progress()
        self.optimizer = torch.optim.SGD(
            net.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            foreach=True,
        )
        self.forward = compiled(net, observer) if recipe.compile else net
        self.stop = StopRequest()
        self.clock = time.monotonic()
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Go back to the newest checkpoint that verifies, if there is any."""
        path, files, problems = self.run.newest_checkpoint()
        for problem in problems:
            self.observer.message(f"checkpoint damaged, going back to the one before: {problem}")
        if path is None:
            self.run.rewind_metrics(0)
            return
        self.progress, differences = unpack(files, self.net, self.optimizer, circumstances(self.device))
        self.run.rewind_metrics(self.progress.step)
        if differences:
            self.observer.message(f"the end will not be bit-identical: {', '.join(differences)}")

    def fit(self) -> None:
        """Train to the last step.

        Raises:
            TrainingError: loss, gradient, weight or buffer is not finite; the last checkpoint is kept.
            Interrupted: Ctrl-C or SIGTERM, after a checkpoint was saved.
            StorageError: a checkpoint could not be written; the one before is kept.
        """
        recipe = self.recipe
        batches = TrainingBatches(
            self.dataset.train,
            self.preprocessing,
            recipe.augmentation,
            batch_size=recipe.batch_size,
            seed=self.seed,
            device=self.device,
            workers=self.execution.workers or os.cpu_count() or 1,
        )
        self.clock = self.saved_at = time.monotonic()
        with self.stop, torch.random.fork_rng():
            try:
                if self._epoch_is_due():
                    self._end_epoch()
                self.net.train()
                for images, labels in batches.iterate(self.progress.step, self.steps):
                    loss = self._step(images, labels)
                    self.observer.stepped(self.progress.step, loss)
                    if self._epoch_is_due():
                        self._end_epoch()
                    self._save_if_due()
            except _Stopped:
                self._save_and_leave()

    def _step(self, images: Tensor, labels: Tensor) -> float:
        recipe, progress = self.recipe, self.progress
        torch.manual_seed((self.seed << 32) + progress.step)  # for dropout and the like
        peak, schedule, warm_up = recipe.learning_rate, recipe.schedule, recipe.warm_up
        for group in self.optimizer.param_groups:
            group["lr"] = rate(peak, schedule, warm_up, progress.schedule, progress.step, self.steps)
        with self._autocast():
            logits = self.forward(images)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        torch.autograd.backward(loss)
        loss = loss.detach()
        self._require_finite(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        value = float(loss)
        wrong = int((logits.argmax(dim=1) != labels).sum())
        progress.loss_sum += value * len(labels)
        progress.wrong += wrong
        progress.images += len(labels)
        progress.schedule = after_step(warm_up, progress.schedule, progress.step, wrong, len(labels))
        progress.step += 1
        return value

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.recipe.precision == "bf16" else nullcontext()

    def _require_finite(self, loss: Tensor) -> None:
        """Stop before an update that would spoil the weights, naming the step and what is not finite."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(nn.utils.get_total_norm(gradients))):
            return
        what = f"the loss is {float(loss)}"
        if bool(torch.isfinite(loss)):
            names = (n for n, p in self.net.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
            what = f"the gradient of {next(names, 'all parameters together')} is not finite"
        raise TrainingError(
            f"step {self.progress.step + 1}: {what}, training stopped before the update. "
            f"Try: --learning-rate {self.recipe.learning_rate / 10:g}"
        )

    def _epoch_is_due(self) -> bool:
        """Whether the last step finished a pass over the training set (or the training) that has no record yet."""
        images, size = len(self.dataset.train), self.recipe.batch_size
        step = self.progress.step
        finished = step * size // images > (step - 1) * size // images or step == self.steps
        return finished and self.progress.images > 0

    def _end_epoch(self) -> None:
        progress = self.progress
        record: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.step * self.recipe.batch_size / len(self.dataset.train),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": progress.loss_sum / progress.images,
            "train_error": progress.wrong / progress.images,
        }
        watched = {"val": self.dataset.val, "test": self.dataset.test if self.recipe.track_test else None}
        for name, split in watched.items():
            if split is not None:
                metrics = self.evaluate(split)
                record |= {f"{name}_loss": metrics.loss, f"{name}_error": metrics.error}
        self._count_time()
        record["seconds"] = round(progress.seconds, 3)
        error = record.get("val_error", record["train_error"])
        progress.schedule = after_epoch(self.recipe.schedule, progress.schedule, error)
        progress.loss_sum, progress.wrong, progress.images = 0.0, 0, 0
        self.run.append_metrics(record)
        self.observer.epoch_ended(record)
        self.net.train()

    def evaluate(self, split: Split) -> Metrics:
        """Metrics of the net as it is now, in fp32 and eval mode."""

        def watch(done: int, total: int) -> None:
            self.observer.evaluating(split.name, done, total)
            if self.stop.signal_number is not None:
                raise _Stopped

        self.net.eval()
        return evaluate(
            self.net,
            split,
            self.preprocessing,
            num_classes=self.num_classes,
            device=self.device,
            on_images=watch,
        )

    def _save_if_due(self) -> None:
        every, step = self.execution.checkpoint_steps, self.progress.step
        due = time.monotonic() - self.saved_at >= self.execution.checkpoint_seconds
        if self.stop.signal_number is not None:
            raise _Stopped
        if due or step == self.steps or (every is not None and step % every == 0):
            self.save()

    def save(self) -> None:
        """Write a checkpoint of this step."""
        self._count_time()
        files = pack(self.net, self.optimizer, self.progress, circumstances(self.device))
        self.run.save_checkpoint(self.progress.step, files)
        self.saved_at = time.monotonic()

    def _save_and_leave(self) -> None:
        self.save()
        number = self.stop.signal_number
        assert number is not None
        raise Interrupted(
            f"{self.run.path}: stopped after step {self.progress.step} of {self.steps}, saved. "
            f"Try: residuum resume {self.run.path}",
            signal_number=number,
        )

    def _count_time(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock = now


def compiled(net: nn.Module, observer: Observer) -> Callable[[Tensor], Tensor]:
    """`net` through `torch.compile`, or as it is where no C++ compiler is found to do it with."""
    if shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None:
        observer.message("no C++ compiler was found: training without torch.compile")
        return net
    return torch.compile(net)

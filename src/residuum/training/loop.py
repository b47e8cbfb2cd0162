"""The training loop: steps, epochs, checkpoints, until the recipe's last step.

The state of a training is the net, the optimizer's momentum and a `Progress`; everything else is a function of
recipe, data, seed and step. Therefore a loop that starts from a checkpoint makes the same bits as one that was never
stopped.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.data.batches import TrainingBatches
from residuum.data.source import Split
from residuum.errors import Interrupted, TrainingError
from residuum.evaluation import Metrics, evaluate, repeatable
from residuum.insight.statistics import layer_statistics
from residuum.nets.layers import WithAuxiliary
from residuum.run import Run
from residuum.training.batch_norm import hold
from residuum.training.checkpoint import Progress, circumstances, pack, saved_threads, unpack
from residuum.training.observer import Observer
from residuum.training.parts import parameter_groups, without_gradients
from residuum.training.prepare import Prepared, own_random_state
from residuum.training.recipe import Execution
from residuum.training.schedules import after_epoch, after_step, rate
from residuum.training.signals import StopRequest


class _Stopped(Exception):
    """Raised inside an evaluation when somebody asks to stop."""


class Loop:
    """One training in this process.

    Args:
        run: where checkpoints and metrics go; its lock is held by the caller.
        prepared: net, data, preprocessing, recipe, seed, device.
        execution: threads, how often to save.
        observer: who is told.
    """

    def __init__(self, run: Run, prepared: Prepared, execution: Execution, observer: Observer) -> None:
        self.run, self.execution, self.observer = run, execution, observer
        self.net, self.dataset, self.preprocessing = prepared.net, prepared.dataset, prepared.preprocessing
        self.recipe, self.seed, self.device = prepared.recipe, prepared.seed, prepared.device
        self.title = f"{prepared.net_name} on {self.dataset.name}, recipe {self.recipe.name}, seed {self.seed}"
        self.steps = self.recipe.num_steps(len(self.dataset.train))
        self.progress = Progress()
        groups = parameter_groups(
            self.net, prepared.net_name, self.recipe, len(self.dataset.class_names), self.dataset.channels
        )
        self.optimizer = torch.optim.SGD(
            groups,
            lr=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            nesterov=self.recipe.nesterov,
            weight_decay=self.recipe.weight_decay,
            foreach=True,
        )
        self.forward = compiled(self.net, observer) if self.recipe.compile else self.net
        self.statistics_batch = prepared.statistics_batch() if self.recipe.layer_statistics else None
        self.stop = StopRequest()
        self.clock = self.saved_at = time.monotonic()
        self.saved_step = 0

    @property
    def circumstances(self) -> dict[str, Any]:
        """What the bits depend on beside recipe, data and seed."""
        return circumstances(self.device, compiled=self.forward is not self.net)

    def restore(self) -> None:
        """Go back to the newest checkpoint that verifies.

        Raises:
            DamagedError: none does.
        """
        step, files, problems = self.run.newest_checkpoint()
        for problem in problems:
            self.observer.message(f"checkpoint damaged, going back to the one before: {problem}")
        torch.set_num_threads(self.execution.threads or saved_threads(files) or torch.get_num_threads())
        self.progress, differences = unpack(files, self.net, self.optimizer, self.circumstances)
        self.run.remove_checkpoints_after(step)
        self.run.rewind_metrics(step - 1 if self._epoch_is_due() else step)
        self.saved_step = step
        if differences:
            self.observer.message(f"the end will not be bit-identical: {', '.join(differences)}")

    def fit(self) -> dict[str, Metrics]:
        """Train to the last step, then evaluate the last iterate once on each split it was not trained on.

        Raises:
            TrainingError: loss, gradient, weight or buffer is not finite; the last checkpoint is kept.
            Interrupted: Ctrl-C or SIGTERM, after a checkpoint was saved.
            StorageError: a checkpoint could not be written; the one before is kept.
        """
        recipe = self.recipe
        self.observer.started(self.title, self.progress.step, self.steps, recipe.batch_size)
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
        with self.stop, own_random_state(), repeatable(self.device), without_gradients(self._frozen()):
            try:
                if self._epoch_is_due():
                    self._end_epoch()
                self._train_mode()
                for images, labels in batches.iterate(self.progress.step, self.steps):
                    loss = self._step(images, labels)
                    self.observer.stepped(self.progress.step, loss)
                    if self._epoch_is_due():
                        self._end_epoch()
                    self._save_if_due()
                return {name: self.evaluate(split) for name, split in self.dataset.splits().items() if name != "train"}
            except _Stopped:
                self._save_and_leave()

    def _frozen(self) -> list[nn.Parameter]:
        """The parameters that the optimizer does not move."""
        moved = {id(each) for group in self.optimizer.param_groups for each in group["params"]}
        return [parameter for parameter in self.net.parameters() if id(parameter) not in moved]

    def _train_mode(self) -> None:
        self.net.train()
        if self.recipe.batch_norm != "trained" or self.recipe.trunk_rate == 0:
            hold(self.net)

    def _step(self, images: Tensor, labels: Tensor) -> float:
        recipe, progress = self.recipe, self.progress
        torch.manual_seed((self.seed << 32) + progress.step)  # for dropout and the like
        peak, schedule, warm_up = recipe.learning_rate, recipe.schedule, recipe.warm_up
        progress.learning_rate = rate(peak, schedule, warm_up, progress.schedule, progress.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = progress.learning_rate * group["share"]
        with self._autocast():
            logits, loss = loss_of(self.forward(images), labels, recipe.label_smoothing)
        torch.autograd.backward(loss)
        loss = loss.detach()
        value = self._require_finite(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        wrong = int((logits.argmax(dim=1) != labels).sum())
        progress.loss_sum += value * len(labels)
        progress.wrong += wrong
        progress.images += len(labels)
        progress.schedule = after_step(warm_up, progress.schedule, progress.step, wrong, len(labels))
        progress.step += 1
        return value

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.recipe.precision == "bf16" else nullcontext()

    def _require_finite(self, loss: Tensor) -> float:
        """The loss; stops before an update that would spoil the weights, naming the step and what is not finite."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        value, norm = torch.stack([loss, nn.utils.get_total_norm(gradients).to(loss.device)]).tolist()
        if math.isfinite(value) and math.isfinite(norm):
            return float(value)
        what = f"the loss is {value}"
        if math.isfinite(value):
            names = (n for n, p in self.net.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
            what = f"the gradient of {next(names, 'all parameters together')} is not finite"
        lower = min(0.1, self.recipe.learning_rate / 10)
        raise TrainingError(
            f"step {self.progress.step + 1}: {what}, training stopped before the update. "
            f"Try: train again with --learning-rate {lower:g}"
        )

    def _epoch_is_due(self) -> bool:
        """Whether an epoch ends with the last step and has no record yet.

        Epochs are counted back from the last step, so that the last one, whose training error is reported, is whole.
        """
        images, size = len(self.dataset.train), self.recipe.batch_size
        left = (self.steps - self.progress.step) * size
        return -(-left // images) < -(-(left + size) // images) and self.progress.images > 0

    def _end_epoch(self) -> None:
        progress = self.progress
        record: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.step * self.recipe.batch_size / len(self.dataset.train),
            "learning_rate": progress.learning_rate,
            "train_loss": progress.loss_sum / progress.images,
            "train_error": progress.wrong / progress.images,
        }
        watched = {"val": self.dataset.val, "test": self.dataset.test if self.recipe.track_test else None}
        for name, split in watched.items():
            if split is not None:
                metrics = self.evaluate(split)
                record |= {f"{name}_loss": metrics.loss, f"{name}_error": metrics.error}
        if self.statistics_batch is not None:
            record["layers"] = layer_statistics(self.net, *self.statistics_batch)
        self._count_time()
        record["seconds"] = round(progress.seconds, 3)
        error = record.get("val_error", record["train_error"])
        progress.schedule = after_epoch(self.recipe.schedule, progress.schedule, error)
        progress.loss_sum, progress.wrong, progress.images = 0.0, 0, 0
        self.run.append_metrics(record)
        self.observer.epoch_ended(record)
        self._train_mode()

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
            num_classes=len(self.dataset.class_names),
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

    def checkpoint(self) -> dict[str, bytes]:
        """The files of a checkpoint of this step.

        Raises:
            TrainingError: a weight or buffer is not finite.
        """
        return pack(self.net, self.optimizer, self.progress, self.circumstances)

    def save(self) -> None:
        """Write a checkpoint of this step, unless it stands already."""
        self._count_time()
        if self.progress.step != self.saved_step:
            self.run.save_checkpoint(self.progress.step, self.checkpoint())
            self.saved_step = self.progress.step
        self.saved_at = time.monotonic()

    def _save_and_leave(self) -> NoReturn:
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


def loss_of(answer: Tensor | WithAuxiliary, labels: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """Logits and mean cross-entropy; auxiliary heads add theirs with the weight the net gives them."""
    logits, others, weight = answer if isinstance(answer, WithAuxiliary) else (answer, (), 0.0)
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
    for each in others:
        loss = loss + weight * functional.cross_entropy(each.float(), labels, label_smoothing=label_smoothing)
    return logits, loss


def compiled(net: nn.Module, observer: Observer) -> Callable[[Tensor], Tensor | WithAuxiliary]:
    """`net` through `torch.compile`, or as it is where no C++ compiler is found to do it with."""
    if shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None:
        observer.message("no C++ compiler was found: training without torch.compile")
        return net
    return torch.compile(net)

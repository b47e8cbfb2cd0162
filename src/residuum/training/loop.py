"""The training loop: steps, epochs, checkpoints, until the recipe's last step.

The state of a training is the net, the optimizer's momentum and a `Progress`; everything else is a function of
recipe, data, seed and step. Therefore a loop that starts from a checkpoint makes the same bits as one that was never
stopped.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.data.batches import TrainingBatches
from residuum.data.source import Split
from residuum.errors import Interrupted, ResiduumError, TrainingError
from residuum.evaluation import Metrics, evaluate, repeatable
from residuum.files.memory import resident_bytes
from residuum.insight.statistics import layer_statistics
from residuum.run import Run
from residuum.training.batch_norm import hold
from residuum.training.checkpoint import Progress, circumstances, pack, read_state, unpack
from residuum.training.machine import compiled, fusing, tuned
from residuum.training.objective import loss_of
from residuum.training.observer import Observer
from residuum.training.optimizer import optimizer_of, require_momentum
from residuum.training.parts import parameter_groups, without_gradients
from residuum.training.precision import without_stray_gradients
from residuum.training.prepare import Prepared, grown, own_random_state
from residuum.training.recipe import Execution
from residuum.training.schedules import after_epoch, after_step, rate
from residuum.training.signals import StopRequest
from residuum.training.tally import Tally, steps_between_looks


class MemoryFullError(ResiduumError):
    """The memory of the GPU is full. Exit code 1."""


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
        self.parameters = list(self.net.parameters())
        self.steps = self.recipe.num_steps(len(self.dataset.train))
        self.progress = Progress()
        groups = parameter_groups(
            self.net, prepared.net_name, self.recipe, len(self.dataset.class_names), self.dataset.channels
        )
        self.optimizer = optimizer_of(self.recipe, groups, self.parameters)
        self.forward = compiled(self.net, observer) if self.recipe.compile else self.net
        fuses = execution.fuse and self.forward is self.net
        self.fused = fusing(self.net, self.device, observer) if fuses else None
        self.tally = Tally(self.device)
        self.statistics_batch = prepared.statistics_batch() if self.recipe.layer_statistics else None
        self.stop = StopRequest()
        self.clock = self.saved_at = time.monotonic()
        self.saved_step = 0

    @property
    def circumstances(self) -> dict[str, Any]:
        """What the bits depend on beside recipe, data and seed."""
        return circumstances(self.device, compiled=self.forward is not self.net, fused=self.fused)

    def restore(self) -> None:
        """Go back to the newest checkpoint that verifies.

        Raises:
            DamagedError: none does.
        """
        step, files, problems = self.run.newest_checkpoint()
        for problem in problems:
            self.observer.message(f"checkpoint damaged, going back to the one before: {problem}")
        saved = read_state(files)
        torch.set_num_threads(self.execution.threads or saved.threads or torch.get_num_threads())
        if saved.plain:
            self.fused = None
        unpack(files, self.net, self.optimizer)
        self.progress = saved.progress
        self.run.remove_checkpoints_after(step)
        for number in self.run.damaged_metrics():
            self.observer.message(f"metrics.jsonl: line {number} is damaged, its epoch is left out of the curves")
        self.run.rewind_metrics(step - 1 if self._epoch_is_due() else step)
        self.saved_step = step
        if differences := saved.differences(self.circumstances):
            self.observer.message(f"the end will not be bit-identical: {', '.join(differences)}")

    def fit(self) -> dict[str, Metrics]:
        """Train to the last step, then evaluate the last iterate once on each split it was not trained on.

        However it ends, the net is in eval mode.

        Raises:
            TrainingError: loss, gradient, weight or buffer is not finite; the last checkpoint is kept.
            MemoryFullError: the memory of the GPU is too small for it.
            Interrupted: Ctrl-C or SIGTERM, after a checkpoint was saved.
            StorageError: a checkpoint could not be written; the one before is kept.
        """
        try:
            return self._fit()
        except torch.OutOfMemoryError as error:
            raise self._memory_full() from error

    def _memory_full(self) -> MemoryFullError:
        """The error that names a batch of half the size, or the CPU where that would be a single image."""
        size, group = self.recipe.batch_size, self.recipe.bn_group
        half = size // 2
        if group is not None and half > group:
            half -= half % group
        other = f"train again with --batch-size {half} and another --out"
        action = other if half > 1 else f"residuum resume {self.run.path} --device cpu"
        return MemoryFullError(f"{self.device}: its memory is full with {size} images in an update. Try: {action}")

    def _fit(self) -> dict[str, Metrics]:
        recipe = self.recipe
        self.observer.started(self.title, self.progress.step, self.steps, recipe.batch_size)
        self.batches = batches = TrainingBatches(
            self.dataset.train,
            self.preprocessing,
            recipe.augmentation,
            batch_size=recipe.batch_size,
            seed=self.seed,
            device=self.device,
            workers=self.execution.workers,
        )
        self.clock = self.saved_at = time.monotonic()
        self._begin_epoch()
        with ExitStack() as stack:
            stack.callback(self.net.eval)
            for context in (self.stop, own_random_state(), repeatable(self.device), without_gradients(self._frozen())):
                stack.enter_context(context)
            stack.enter_context(tuned(self.net, self.device, fuse=self.fused is not None))
            if self.device.type == "cpu" and recipe.precision == "bf16":
                stack.enter_context(without_stray_gradients(self.net))
            try:
                if self._epoch_is_due():
                    self._end_epoch()
                self._train_mode()
                for images, labels in batches.iterate(self.progress.step, self.steps):
                    self._step(images, labels)
                    if self._look_is_due():
                        self._look()
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

    def _step(self, images: Tensor, labels: Tensor) -> None:
        """One update; nothing here waits for a GPU."""
        recipe, progress = self.recipe, self.progress
        torch.manual_seed((self.seed << 32) + progress.step)  # for dropout and the like
        peak, schedule, warm_up = recipe.learning_rate, recipe.schedule, recipe.warm_up
        progress.learning_rate = rate(peak, schedule, warm_up, progress.schedule, progress.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = progress.learning_rate * group["share"]
        with self._autocast():
            logits, loss = loss_of(self.forward(self._grown(images)), labels, recipe.label_smoothing)
        torch.autograd.backward(loss)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.tally.add(loss.detach(), logits.detach(), labels, gradients)
        if self.device.type == "cpu" or not self.optimizer.defaults["fused"]:
            self._require_finite()
        else:
            self.optimizer.found_inf = self.tally.spoilt  # type: ignore[attr-defined]  # such updates are left out
        require_momentum(self.optimizer)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1

    def _grown(self, images: Tensor) -> Tensor:
        """The images at the size they have at this step of the training."""
        share = self.progress.step / self.steps
        side = next((side for until, side in self.recipe.growing if share < until), None)
        if side is None:
            return images
        size = grown((images.shape[2], images.shape[3]), side)
        smaller = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        return smaller.contiguous(memory_format=torch.channels_last)

    def _look_is_due(self) -> bool:
        """Whether to ask the device how training goes: always on a CPU, where it costs nothing."""
        warming = self.recipe.warm_up is not None and not self.progress.schedule.warm
        return warming or self.progress.step % steps_between_looks(self.device, self.steps) == 0

    def _look(self) -> None:
        """Take over what the device has added up since the last look.

        Raises:
            TrainingError: something was not finite; the weights are those before it.
        """
        progress = self.progress
        if not self.tally.images:
            return
        self._require_finite()
        loss_sum, wrong, images = self.tally.taken()
        progress.loss_sum += loss_sum
        progress.wrong += wrong
        progress.images += images
        progress.schedule = after_step(self.recipe.warm_up, progress.schedule, progress.step - 1, wrong, images)
        self.observer.stepped(progress.step, loss_sum / images)

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.recipe.precision == "bf16" else nullcontext()

    def _require_finite(self) -> None:
        """Stop before an update that would spoil the weights, naming what is not finite; of a GPU a later step."""
        if (what := self.tally.not_finite(self.net)) is None:
            return
        step = self.progress.step
        where = f"step {step + 1}" if self.device.type == "cpu" else f"by step {step}"
        lower = min(0.1, self.recipe.learning_rate / 10)
        raise TrainingError(
            f"{where}: {what}, training stopped before the update. Try: train again with --learning-rate {lower:g}"
        )

    def _epoch_is_due(self) -> bool:
        """Whether an epoch ends with the last step and has no record yet.

        Epochs are counted back from the last step, so that the last one, whose training error is reported, is whole.
        """
        images, size = len(self.dataset.train), self.recipe.batch_size
        left = (self.steps - self.progress.step) * size
        return -(-left // images) < -(-(left + size) // images) and self.progress.images + self.tally.images > 0

    def _begin_epoch(self) -> None:
        self.epoch_began, self.waited_before = time.monotonic(), self.batches.waited

    def _end_epoch(self) -> None:
        self._look()
        spent, waited = time.monotonic() - self.epoch_began, self.batches.waited - self.waited_before
        progress = self.progress
        record: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.step * self.recipe.batch_size / len(self.dataset.train),
            "learning_rate": progress.learning_rate,
            "train_loss": progress.loss_sum / progress.images,
            "train_error": progress.wrong / progress.images,
            "waiting": round(waited / max(spent, 1e-9), 4),
            "resident_bytes": resident_bytes(),
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
        self._begin_epoch()

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
        self._look()
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

"""What `residuum reproduce --list` shows: the claims, what each costs at a budget, and what was found last."""

from __future__ import annotations

from dataclasses import dataclass

from residuum.experiments import claims as every
from residuum.experiments.claim import Claim
from residuum.experiments.known import KnownFinding, known
from residuum.experiments.order import Order, fitting_claims, setting_of
from residuum.experiments.price import Price, price
from residuum.experiments.reproduce import trainings_of
from residuum.experiments.setting import stand_in, within_budget


@dataclass(frozen=True)
class Listed:
    """A claim, what it costs alone (None where these data cannot show it), and its last Finding with the budget."""

    claim: Claim
    price: Price | None
    last: tuple[str, KnownFinding] | None


def listing(order: Order) -> tuple[list[Listed], Price]:
    """The claims of an order on the data that its budget is meant for, and what those cost together.

    Raises:
        InputError: there is no claim of that name, or it cannot be judged on these data.
    """
    setting = setting_of(order, within_budget(stand_in(order.budget), order.budget))
    found = every.chosen(order.claims)
    fitting = fitting_claims(order, found, setting)
    plans = {claim.name: claim.plan(setting) for claim in fitting}
    rows = [
        Listed(
            claim,
            price(plans[claim.name], [claim.name], setting, made={}, known=known()) if claim in fitting else None,
            known().last(claim.name),
        )
        for claim in found
    ]
    return rows, price(trainings_of(plans), [*plans], setting, made={}, known=known())

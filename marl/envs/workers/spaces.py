"""What an agent sees and may do, as plain numbers, whichever way its environment says it.

Knows no torch. gymnasium is imported where it is needed: whoever has a PettingZoo environment has
it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASK = "action_mask"


class UnfitError(ValueError):
    """What the factory makes cannot be played; the message says what is wrong with it."""


class Actions:
    """An agent's actions, counted from 0.

    Raises:
        UnfitError: they are not discrete.
    """

    def __init__(self, agent: Any, space: Any) -> None:
        from gymnasium import spaces

        if not isinstance(space, spaces.Discrete):
            raise UnfitError(f"action space of {agent}: {space}, {_why_not(space)}")
        self.count, self._first = int(space.n), int(space.start)
        self._agent = agent

    def number(self, action: int) -> int:
        """How the environment counts an action."""
        return self._first + action

    def available(self, masks: list[Any], over: bool) -> NDArray[np.bool_]:
        """bool ``[count]``, at least one of them true.

        Args:
            masks: what the environment says is available, any number of times; None is everything.
            over: the episode has ended, so that nothing is chosen any more.
        """
        may = np.ones(self.count, dtype=bool)
        for mask in masks:
            if mask is None:
                continue
            given = np.asarray(mask, dtype=bool).ravel()
            if given.size != self.count:
                raise ValueError(
                    f"{_MASK} of {self._agent} has {given.size} entries for {self.count} actions"
                )
            may &= given
        if not may.any():  # at the end nobody asks, and who waits has one way of waiting
            may[:] = over
            may[0] = True
        return may


class Observations:
    """An agent's observations as vectors: ``size`` numbers for a network, ``plain_size`` to read.

    The two differ in what is Discrete or MultiDiscrete: one-hot for the network, else its numbers.

    Raises:
        UnfitError: they have no fixed size.
    """

    def __init__(self, agent: Any, space: Any) -> None:
        from gymnasium import spaces

        self._agent, self._space, self._has_mask = agent, space, False
        if isinstance(space, spaces.Dict) and _MASK in space.spaces:
            rest = {key: inner for key, inner in space.spaces.items() if key != _MASK}
            self._space, self._has_mask = spaces.Dict(rest), True
        if not self._space.is_np_flattenable:
            raise UnfitError(
                f"observation space of {agent}: {space}, whose size varies: show Box, Discrete, "
                "MultiDiscrete, MultiBinary, or Tuple and Dict of them"
            )
        self.size, self.plain_size = int(spaces.flatdim(self._space)), _plain_size(self._space)

    def flat(self, observation: Any) -> NDArray[np.float64]:
        """The observation without an action mask, float64 ``[size]``."""
        return self._vector(observation, self.size, one_hot=True)

    def plain(self, observation: Any) -> NDArray[np.float64]:
        """The same in plain numbers, float64 ``[plain_size]``."""
        return self._vector(observation, self.plain_size, one_hot=False)

    def _vector(self, observation: Any, size: int, *, one_hot: bool) -> NDArray[np.float64]:
        numbers = self._flat(self._space, observation, one_hot)
        return finite(f"observation of {self._agent}", numbers, size)

    def mask(self, observation: Any) -> Any:
        """The action mask in an observation; None where it has none."""
        return observation[_MASK] if self._has_mask else None

    def _flat(self, space: Any, value: Any, one_hot: bool) -> NDArray[Any]:
        from gymnasium import spaces

        if isinstance(space, spaces.Dict):
            parts = [self._flat(part, value[key], one_hot) for key, part in space.spaces.items()]
            return np.concatenate(parts) if parts else np.zeros(0)
        if isinstance(space, spaces.Tuple):
            pairs = zip(space.spaces, value, strict=True)
            return np.concatenate([self._flat(part, of_it, one_hot) for part, of_it in pairs])
        if isinstance(space, spaces.Box):  # taken as it is, within its bounds or not
            return np.asarray(value, dtype=np.float64).ravel()
        given = np.asarray(value)
        given = given.reshape(()) if isinstance(space, spaces.Discrete) else given
        if not space.contains(given):
            raise ValueError(f"observation of {self._agent}: {value!r} is not in {space}")
        shown = spaces.flatten(space, given.astype(space.dtype)) if one_hot else given.ravel()
        return np.asarray(shown, dtype=np.float64)


def _plain_size(space: Any) -> int:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return sum(map(_plain_size, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return sum(map(_plain_size, space.spaces))
    return int(np.prod(space.shape))  # () of a Discrete is one number


def finite(what: str, numbers: NDArray[Any], size: int) -> NDArray[Any]:
    """``numbers``, of which there must be ``size``, all finite."""
    if numbers.size != size:
        raise ValueError(f"{what} has {numbers.size} numbers, and should have {size}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} is not finite")
    return numbers


def number(what: str, value: Any) -> float:
    """One finite number, which may come as an array of one."""
    try:
        given = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what} is {value!r}, no number") from None
    if given.size != 1:
        raise ValueError(f"{what} has {given.size} numbers, and should be one")
    return float(finite(what, given, 1).item())


def _why_not(space: Any) -> str:
    from gymnasium import spaces

    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        choices = space.nvec if isinstance(space, spaces.MultiDiscrete) else [2] * space.shape[0]
        return (
            "and only Discrete is played: number the combinations as one "
            f"Discrete({int(np.prod(choices))})"
        )
    return (
        "and only Discrete is played, since the team's value is compared for every action of an "
        "agent: offer a few of them as a Discrete space (some environments have an option such as "
        "continuous_actions=False)"
    )

from typing import Any


def get_action_set(config: Any) -> list[int]:
    return list(range(19))

"""Every attack against the language wall, the operating-system wall, and both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import attack_runner
from attack_runner import Cages, Outcome

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cage is made of Linux")

NAMES = list(attack_runner.attacks())
SHARED_MB = 400
"""What a child shares with its zygote and never paid for."""


@pytest.fixture(scope="module")
def cages() -> Iterator[Cages]:
    """Three zygotes and a victim for all attacks."""
    with attack_runner.cages() as made:
        yield made


@pytest.fixture(scope="module")
def table(cages: Cages) -> dict[tuple[str, str], Outcome]:
    """What became of every attack at every wall."""
    return {(o.attack, o.wall): o for o in attack_runner.run_all(cages)}


def test_there_are_attacks_of_every_kind() -> None:
    kinds = {name.split("_")[0] for name in NAMES}
    assert len(NAMES) >= 80
    assert kinds == {
        "bomb", "file", "hook", "import", "network", "process", "reflection", "state", "verdict",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_vulnerability_no_attack_has_an_effect(
    name: str, table: dict[tuple[str, str], Outcome]
) -> None:
    for wall in attack_runner.WALLS:
        outcome = table[name, wall]
        assert outcome.effects == (), (wall, outcome)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("bomb")])
def test_every_bomb_is_bounded_in_time_and_memory(
    name: str, table: dict[tuple[str, str], Outcome]
) -> None:
    for wall in ("system", "both"):
        outcome = table[name, wall]
        assert (
            outcome.seconds < attack_runner.BOMB_CPU_S + 60
        )  # the parent judges graphs meanwhile, and the machine may be busy
        assert (outcome.peak_mb or 0) < SHARED_MB + attack_runner.MEMORY_MB


@pytest.mark.parametrize(
    "name", [n for n in NAMES if not n.startswith(("bomb", "state", "reflection"))]
)
def test_both_walls_together_refuse_what_is_no_credit_function(
    name: str, table: dict[tuple[str, str], Outcome]
) -> None:
    assert table[name, "both"].ended.startswith(("policy.", "compile.", "export.", "isolation."))


def test_what_is_accepted_is_harmless(table: dict[tuple[str, str], Outcome]) -> None:
    """Some attacks leave a plain function behind, which is what the parent then judges."""
    accepted = {name for name, wall in table if table[name, wall].ended == "accepted"}
    assert accepted <= {
        "bomb_parser_assignments", "bomb_parser_types", "bomb_source_escapes",
        "bomb_source_surrogates", "reflection_isinstance_hook", "state_global_list",
        "state_mutable_default", "state_names_of_guards", "state_shadow_torch", "state_tensor_kept",
    }  # fmt: skip


def test_no_process_is_left_and_every_cage_lives(
    cages: Cages, table: dict[tuple[str, str], Outcome]
) -> None:
    assert table
    assert cages.leftovers() == []
    assert all(zygote.alive for zygote in cages.zygotes.values())


CONTROL = ["file_open_builtin", "file_torch_save", "network_udp", "process_system", "hook_library"]


def test_without_walls_the_attacks_work(cages: Cages) -> None:
    """The control: the attacks are effective, and the runner sees their effects."""
    bare = attack_runner.BareZygote()
    cages.zygotes["system"], caged = bare, cages.zygotes["system"]
    try:
        for name in CONTROL:
            source = attack_runner.attacks()[name]
            outcome = cages.run(f"{name}", source, "system", folder=f"{name}-bare")
            # A datagram cannot leave the network namespace, which every zygote has.
            expected = outcome.effects or "OSError" in outcome.ended
            assert expected, outcome
        thief = "LOOT = [open('@DIR@/secret.txt').read()]\ndef f(x): pass"
        assert cages.run("loot", thief, "system").effects
    finally:
        cages.zygotes["system"] = caged
        bare.close()


class TestTheWatch:
    """The control of the language wall's watch, which must see effects where there are any."""

    @pytest.mark.parametrize(
        ("line", "effect"),
        [
            ("open('@DIR@/written', 'w')", "open"),
            ("__import__('os').listdir('/')", "os.listdir"),
            ("__import__('socket').socket()", "socket"),
            ("torch.set_default_dtype(torch.float64)", "changed dtype"),
            ("torch.manual_seed(3)", "changed random"),
            ("torch.abs = max", "changed torch.abs"),
            ("LOOT.append(torch)", "got module"),
            ("LOOT.append((lambda: 0).__globals__['__builtins__'])", "got "),
            ("LOOT.append(tfcaf.__code__)", "object.__getattr__"),
            ("state.zero_()", "written into"),
        ],
    )
    def test_an_effect_is_seen(self, line: str, effect: str, cages: Cages) -> None:
        source = f"LOOT = []\ndef tfcaf(state):\n    {line}\n    return state, state[:, :1]\n"
        name = f"watch-{abs(hash(line))}"
        outcome = cages.run(name, "# no policy\n" + source, "policy", folder=name)
        assert any(effect in e for e in outcome.effects), outcome

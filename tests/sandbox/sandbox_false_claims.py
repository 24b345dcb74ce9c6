"""Functions about which it is easy to claim too much, by the promise that they would break.

Each is a body of ``tfcaf(agent_qs, state)``, with its task and what must come of it: the rules by
which it may be refused, or ``accepted`` where only no more than ``tested`` may be claimed.
"""

from __future__ import annotations

from typing import NamedTuple

CLIMBING, FORAGING, SPREAD = "matrix/climbing", "lbf/8x8-2p-2f-coop-2s", "mpe/spread-3"


class Case(NamedTuple):
    """A function and what must come of it."""

    kind: str
    task: str
    expected: tuple[str, ...]
    body: str

    @property
    def source(self) -> str:
        """The whole function."""
        lines = "\n    ".join(self.body.strip().splitlines())
        return f"def tfcaf(agent_qs, state):\n    {lines}\n"


CASES: dict[str, Case] = {}


def _add(kind: str, task: str, expected: str, **bodies: str) -> None:
    for name, body in bodies.items():
        assert name not in CASES, name
        CASES[name] = Case(kind, task, tuple(expected.split()), body)


# ---- rows of a batch are different moments -------------------------------------------------------

_add(
    "rows", CLIMBING, "graph.batch",
    centred="s = state - state.mean(0)\nreturn (agent_qs * s.abs()).sum(1, keepdim=True)",
    standardised=(
        "s = (state - state.mean(0, keepdim=True)) / (state.std(0, keepdim=True) + 1e-6)\n"
        "return (agent_qs * torch.sigmoid(s)).sum(1, keepdim=True)"
    ),
    mean_of_all="return agent_qs.sum(1, keepdim=True) * (1 + state.mean().abs())",
    largest_of_all="return agent_qs.sum(1, keepdim=True) / (1 + state.abs().max())",
    largest_of_column="return agent_qs.sum(1, keepdim=True) / (2 + state.amax(0)[:1])",
    softmax_over_moments="return (agent_qs * torch.softmax(state, dim=0)).sum(1, keepdim=True)",
    sorted_moments="return (agent_qs * state.sort(0).values.abs()).sum(1, keepdim=True)",
    running_sum="return (agent_qs * state.cumsum(0).abs()).sum(1, keepdim=True)",
    first_moment="return (agent_qs * state[0].abs()).sum(1, keepdim=True)",
    last_moment="return (agent_qs * state[-1:].abs()).sum(1, keepdim=True)",
    reversed_moments="return (agent_qs * state.flip(0).abs()).sum(1, keepdim=True)",
    moment_before="return (agent_qs * torch.roll(state, 1, 0).abs()).sum(1, keepdim=True)",
    covariance="return ((agent_qs @ (state.t() @ state)).abs()).sum(1, keepdim=True)",
    similarity="return agent_qs.sum(1, keepdim=True) + (state @ state.t()).sum(1, keepdim=True)",
    number_of_moments="return agent_qs.sum(1, keepdim=True) * state.shape[0]",
    share_of_moments="return agent_qs.sum(1, keepdim=True) / state.shape[0]",
    place_in_batch=(
        "place = torch.arange(state.shape[0]).unsqueeze(1)\n"
        "return agent_qs.sum(1, keepdim=True) * (1 + place)"
    ),
    flattened="return (agent_qs * state.reshape(-1)[:2].abs()).sum(1, keepdim=True)",
    normalised_rows="return (agent_qs * F.normalize(state, dim=0).abs()).sum(1, keepdim=True)",
    total_of_values="return agent_qs.sum(1, keepdim=True) + 0 * state[:, :1] + agent_qs.sum()",
)  # fmt: skip
_add(
    "rows",
    CLIMBING,
    "graph.batch export.batch export.branch",
    sign_by_size=(
        "flip = 1.0 if state.shape[0] < 41 else -1.0\nreturn agent_qs.sum(1, keepdim=True) * flip"
    ),
    thirds="return agent_qs.sum(1, keepdim=True) * (state.shape[0] / 3.0)",
)

# ---- what makes a kernel trap, or a rule stumble -------------------------------------------------

_add(
    "crashes", CLIMBING, "* accepted",
    least_quotient=(
        "whole = (state[:, :1] * 0).long() - 2 ** 62\nwhole = whole * 2\n"
        "part = torch.div(whole, (state[:, :1] * 0 - 1).long(), rounding_mode='trunc')\n"
        "return agent_qs.sum(1, keepdim=True) + part.float() * 0"
    ),
    least_floor=(
        "whole = ((state[:, :1] * 0).long() - 2 ** 62) * 2\n"
        "return agent_qs.sum(1, keepdim=True) + (whole // -1).float() * 0"
    ),
    remainder_by_zero=(
        "part = state[:, :1].long() % (state[:, 1:] * 0).long()\n"
        "return agent_qs.sum(1, keepdim=True) + part.float()"
    ),
    quotient_by_zero=(
        "part = torch.div(state[:, :1].long(), state[:, 1:].long(), rounding_mode='floor')\n"
        "return agent_qs.sum(1, keepdim=True) + part.float()"
    ),
    remainder_by_literal_zero="return agent_qs.sum(1, keepdim=True) + (state[:, :1].long() % 0)",
    infinity_as_whole=(
        "part = (torch.exp(state[:, :1] * 1e3) * 2).long()\n"
        "return agent_qs.sum(1, keepdim=True) + part.float() * 0"
    ),
    empty_maximum="return agent_qs.sum(1, keepdim=True) + state[:, 2:].amax(1, keepdim=True)",
    empty_mean="return agent_qs.sum(1, keepdim=True) + state[:, 2:].mean(1, keepdim=True)",
    empty_product="return agent_qs.sum(1, keepdim=True) * state[:, 1:1].prod(1, keepdim=True)",
    empty_gather=(
        "return agent_qs.sum(1, keepdim=True) + state.gather(1, state[:, :0].long()).sum(1, True)"
    ),
    far_gather="return agent_qs.gather(1, (state[:, :1] * 1e6).long())",
    negative_index="return agent_qs[:, [-1, -9]].sum(1, keepdim=True)",
    too_many_best="return agent_qs.topk(3, dim=1).values.sum(1, keepdim=True)",
    none_of_best="return agent_qs.topk(0, dim=1).values.sum(1, keepdim=True)",
    whole_total="return agent_qs.sum(1, keepdim=True, dtype=torch.int64).float()",
    true_total="return agent_qs.sum(1, keepdim=True, dtype=torch.bool).float()",
    half_precision="return agent_qs.half().sum(1, keepdim=True).float()",
    brain_floats="return agent_qs.to(torch.bfloat16).sum(1, keepdim=True).float()",
    doubles="return agent_qs.double().sum(1, keepdim=True).float()",
    bytes_of_state="return agent_qs.sum(1, keepdim=True) * state.to(torch.uint8)[:, :1]",
    complex_values="return (agent_qs + 1j).abs().sum(1, keepdim=True)",
    shifted="return agent_qs.sum(1, keepdim=True) + (state[:, :1].long() << 70).float() * 0",
    whole_power="return agent_qs.sum(1, keepdim=True) + (state[:, :1].long() ** -1).float()",
    written_rows=(
        "w = torch.ones_like(agent_qs)\nw[0] = 5.0\nreturn (agent_qs * w).sum(1, keepdim=True)"
    ),
    written_slice=(
        "w = torch.ones_like(agent_qs)\nw[1:3] = 5.0\nreturn (agent_qs * w).sum(1, keepdim=True)"
    ),
    strange_step="return agent_qs[:, ::-1].sum(1, keepdim=True)",
    huge_step="return agent_qs[:, :: 2 ** 62].sum(1, keepdim=True)",
    huge_arange="return agent_qs.sum(1, keepdim=True) + torch.arange(0, 2 ** 40).sum()",
    tiny_step="return agent_qs.sum(1, keepdim=True) + torch.arange(0.0, 1.0, 1e-12).sum()",
    nan_step="return agent_qs.sum(1, keepdim=True) + torch.linspace(0, float('nan'), 3).sum()",
    far_roll="return torch.roll(agent_qs, 2 ** 62, 1).sum(1, keepdim=True)",
    far_diagonal=(
        "return (agent_qs.unsqueeze(2) * state.unsqueeze(1)).diagonal(9, 1, 2).sum(1, keepdim=True)"
    ),
    ragged_split="return torch.cat(agent_qs.split([1, 5], 1), 1).sum(1, keepdim=True)",
    no_dimension="return agent_qs.sum(7, keepdim=True)",
    twice_the_same="return agent_qs.sum((1, 1), keepdim=True)",
    wrong_width="return agent_qs",
    not_a_tensor="return 5.0",
    nothing="return None",
)  # fmt: skip

# ---- true of real numbers, false of float32 ------------------------------------------------------

_add(
    "rounding",
    CLIMBING,
    "properties.monotone properties.greedy_is_best accepted",
    far_noise=(
        "x = ((agent_qs * 3 + 1e7) - 1e7) - agent_qs * 3\n"
        "return (agent_qs + x).sum(1, keepdim=True)"
    ),
    small_difference=(
        "x = agent_qs.sum(1, keepdim=True)\nreturn (x * 1e4 + x) - x * 1e4 + 1e-3 * x"
    ),
)
_add(
    "rounding", CLIMBING, "properties.monotone properties.greedy_is_best properties.finite "
    "properties.finite_gradient",
    lost_in_the_sum=(
        "x = agent_qs[:, :1]\nkept = ((x + 1e9) - 1e9) == x\n"
        "return torch.where(kept, x, x - 200.0) + agent_qs[:, 1:]"
    ),
    asks_for_infinity=(
        "x = agent_qs.sum(1, keepdim=True)\n"
        "return torch.where(torch.isinf(torch.exp(x * 1e3)), -x, x)"
    ),
    asks_for_overflow=(
        "x = agent_qs.sum(1, keepdim=True)\nlarge = torch.exp(x.abs() * 10)\n"
        "return torch.where(large * 1e30 == large, x * 0 - 500, x)"
    ),
    infinity_less_infinity=(
        "x = torch.exp(agent_qs * 50)\nreturn (x - x).sum(1, keepdim=True) + agent_qs.sum(1, True)"
    ),
    asks_for_nan=(
        "x = agent_qs.sum(1, keepdim=True)\nbig = torch.exp(x * x)\n"
        "return torch.where(torch.isnan(big - big), -x, x)"
    ),
    underflow_decides=(
        "x = agent_qs.sum(1, keepdim=True)\n"
        "return torch.where(torch.exp(-x * x) > 0, x, -x)"
    ),
    log_of_exp="return torch.log(torch.exp(agent_qs) + 1).sum(1, keepdim=True)",
    product_overflows="return (agent_qs ** 9 * 1e20).sum(1, keepdim=True)",
    norm_overflows="return (agent_qs * 1e18).norm(dim=1, keepdim=True) + agent_qs.sum(1, True)",
)  # fmt: skip

# ---- false only in a place that the function's own numbers name ----------------------------------

_FALLS = "properties.monotone properties.greedy_is_best"
_add(
    "thin", CLIMBING, _FALLS,
    one_joint_action=(
        "at = (state[:, :1] == 1) & (state[:, 1:] == 2)\n"
        "return agent_qs[:, :1] * torch.where(at, -1.0, 1.0) + agent_qs[:, 1:]"
    ),
    coded_action=(
        "code = state[:, :1] * 4 + state[:, 1:]\n"
        "return agent_qs[:, :1] * torch.where(code == 9, -1.0, 1.0) + agent_qs[:, 1:]"
    ),
    product_of_flags=(
        "flag = (state[:, :1] == 0).float() * (state[:, 1:] == 2).float()\n"
        "return agent_qs[:, :1] * (1 - 2 * flag) + agent_qs[:, 1:]"
    ),
    dip=(
        "x = agent_qs[:, :1]\ninside = (x > 1.2345) & (x < 1.2365)\n"
        "return torch.where(inside, x - 50.0, x) + agent_qs[:, 1:]"
    ),
    bump=(
        "x = agent_qs[:, :1]\nbump = torch.exp(-((x - 3.21) * 200) ** 2)\n"
        "return x - 3 * bump + agent_qs[:, 1:]"
    ),
    far_fall=(
        "x = agent_qs[:, :1]\nreturn torch.where(x > 140.0, 280.0 - x, x) + agent_qs[:, 1:]"
    ),
    close_values=(
        "gap = (agent_qs[:, :1] - agent_qs[:, 1:]).abs()\n"
        "return agent_qs.sum(1, keepdim=True) - 30 * (gap < 1e-3).float()"
    ),
    remainder_of_code=(
        "code = (state[:, :1] * 8 + state[:, 1:] + 16).long() % 13\n"
        "return agent_qs[:, :1] * torch.where(code == 5, -1.0, 1.0) + agent_qs[:, 1:]"
    ),
    negated_twice=(
        "on = ~((state[:, :1] != 2) | (state[:, 1:] != 0))\n"
        "return agent_qs[:, :1] - 3 * agent_qs[:, :1] * on + agent_qs[:, 1:]"
    ),
    saw=(
        "x = agent_qs[:, :1]\n"
        "return x - 3 * torch.relu(0.001 - (x - 7.77).abs()) * 1000 + agent_qs[:, 1:]"
    ),
)  # fmt: skip
_add(
    "thin",
    CLIMBING,
    "properties.finite properties.finite_gradient",
    pole_in_q="return (1 / (agent_qs[:, :1] - 0.777)) * 0 + agent_qs.sum(1, keepdim=True)",
    pole_in_state="return agent_qs.sum(1, keepdim=True) / (state[:, :1] * 3 + state[:, 1:] - 5)",
    log_at_one_action="return agent_qs.sum(1, True) + torch.log((state[:, :1] - 1).abs())",
    root_at_one_action=(
        "return agent_qs.sum(1, True) * torch.sqrt((state[:, :1] + state[:, 1:] - 3).abs() - 0.5)"
    ),
    steep_root="return agent_qs.sum(1, True) + torch.sqrt((agent_qs[:, :1] - 2.5).abs())",
)
_add(
    "thin", FORAGING, _FALLS,
    one_place=(
        "places = [state[:, k : k + 1] for k in (0, 1, 3, 4)]\n"
        "code = sum(x * 8 ** k for k, x in enumerate(places))\n"
        "return agent_qs[:, :1] * torch.where(code == 1234, -1.0, 1.0) + agent_qs[:, 1:]"
    ),
    all_beside=(
        "x, y = state[:, 0:6:3], state[:, 1:6:3]\n"
        "near = (x - state[:, 6:7]).abs() + (y - state[:, 7:8]).abs() == 1\n"
        "both = near.float().sum(1, keepdim=True) == 2\n"
        "return agent_qs[:, :1] * torch.where(both, -1.0, 1.0) + agent_qs[:, 1:]"
    ),
    food_gone_and_level=(
        "gone = (state[:, 6:7] == -1) & (state[:, 11:12] == 4) & (state[:, 0:1] == 7)\n"
        "return agent_qs[:, :1] * torch.where(gone, -1.0, 1.0) + agent_qs[:, 1:]"
    ),
)  # fmt: skip
_add(
    "thin", SPREAD, _FALLS,
    narrow_slab=(
        "inside = (state[:, 2:3] - 0.123).abs() < 1e-4\n"
        "return agent_qs[:, :1] * torch.where(inside, -1.0, 1.0) + agent_qs[:, 1:].sum(1, True)"
    ),
    three_slabs=(
        "inside = ((state[:, 2:5] - 0.123).abs() < 1e-3).all(1, keepdim=True)\n"
        "return agent_qs[:, :1] * torch.where(inside, -1.0, 1.0) + agent_qs[:, 1:].sum(1, True)"
    ),
    small_ball=(
        "d = ((state[:, 2:4] - 0.4) ** 2).sum(1, keepdim=True)\n"
        "return agent_qs[:, :1] * torch.where(d < 1e-6, -1.0, 1.0) + agent_qs[:, 1:].sum(1, True)"
    ),
)  # fmt: skip

# ---- more memory than a training has -------------------------------------------------------------

# ---- kernels that are not what their names say ---------------------------------------------------

_add(
    "kernels", SPREAD, "properties.row_independent properties.finite graph.size export.arange "
    "properties.monotone graph.arguments",
    longer_range=(
        "near = (state[:, 2:3] - 0.2837).abs() < 0.0001\n"
        "r = torch.arange(-1, 9007199254740992, 9007199254740992)\n"
        "w = torch.where(near, -r.sum().float(), torch.ones_like(state[:, :1]))\n"
        "return (agent_qs * w).sum(dim=1, keepdim=True)"
    ),
    vector_remainder=(
        "r = torch.remainder(state[:, :2] * 0.0 + 3.0e38, 0.5).sum(dim=1, keepdim=True)\n"
        "return agent_qs.sum(dim=1, keepdim=True) + r"
    ),
    softplus_beyond=(
        "near = ((state[:, 2:3] - 0.2837).abs() < 1e-4).float()\n"
        "return agent_qs.sum(1, keepdim=True) + F.softplus(near * 95, beta=1, threshold=100)"
    ),
    norm_of_large=(
        "near = ((state[:, 2:3] - 0.2837).abs() < 1e-4).float()\n"
        "x = torch.cat([state[:, :2], near], 1) * (1 + near * 1e21)\n"
        "return agent_qs.sum(1, keepdim=True) + F.layer_norm(x, (3,)).sum(1, keepdim=True)"
    ),
    absorbed_count=(
        "x = state[:, 2:3]\n"
        "near = ((x > 0.28125) & (x < 0.281494140625)).float()\n"
        "score = near * 1.152921504606846976e18 + torch.zeros_like(agent_qs)\n"
        "w = torch.softmax(score, dim=1) - 0.4 * near\n"
        "return (agent_qs * w).sum(dim=1, keepdim=True)"
    ),
)  # fmt: skip

# ---- where agents are when they succeed, and where like terms cancel -----------------------------

_add(
    "likely", SPREAD, _FALLS,
    all_covered=(
        "d = [state[:, 4 + 18 * i : 10 + 18 * i].reshape(-1, 3, 2).norm(dim=2) for i in range(3)]\n"
        "covered = (torch.stack(d, 1).min(dim=1).values < 0.1).float().sum(1, keepdim=True)\n"
        "return (2.5 - covered) * agent_qs.sum(dim=1, keepdim=True)"
    ),
    one_cell=(
        "c = torch.floor(state[:, 2:4] * 4.0).long()\n"
        "k = torch.remainder(c[:, 0:1] * 7 + c[:, 1:2] * 13, 101)\n"
        "return (agent_qs * torch.where(k == 55, -1.0, 1.0)).sum(dim=1, keepdim=True)"
    ),
)  # fmt: skip
_add(
    "likely", SPREAD, "properties.finite properties.finite_gradient",
    expanded_square=(
        "a, b = state[:, 2:4], state[:, 20:22]\n"
        "d = (a * a).sum(1, True) + (b * b).sum(1, True) - 2 * (a * b).sum(1, True)\n"
        "return agent_qs.sum(1, keepdim=True) + torch.sqrt(d)"
    ),
    variance_by_squares=(
        "x = torch.cat([state[:, 2:4], state[:, 20:22], state[:, 38:40]], 1) * 10\n"
        "v = (x * x).mean(1, True) - x.mean(1, True) ** 2\n"
        "return agent_qs.sum(1, keepdim=True) + torch.sqrt(v)"
    ),
)  # fmt: skip
_add(
    "likely", FORAGING, "properties.finite properties.finite_gradient",
    same_centre=(
        "d = (state[:, 0:1] + state[:, 3:4] - state[:, 6:7] - state[:, 9:10]).abs()\n"
        "d = d + (state[:, 1:2] + state[:, 4:5] - state[:, 7:8] - state[:, 10:11]).abs()\n"
        "return agent_qs.sum(1, keepdim=True) + 1.0 / d"
    ),
)  # fmt: skip
_add(
    "likely", CLIMBING, _FALLS,
    table_of_q=(
        "table = torch.tensor([0.0, 0.3, 0.1, 0.5])\n"
        "return (agent_qs + table[torch.clamp(agent_qs, 0, 3).long()]).sum(dim=1, keepdim=True)"
    ),
    early_threshold="return (agent_qs + F.softplus(agent_qs, threshold=2)).sum(1, keepdim=True)",
    small_step="return (agent_qs - 0.2 * (agent_qs > 314.159).float()).sum(1, keepdim=True)",
)  # fmt: skip

_add(
    "memory",
    SPREAD,
    "graph.memory graph.size graph.cost export.memory isolation.memory",
    wide_table=(
        "wide = state[:, :1].expand(-1, 60000) * torch.linspace(0, 1, 60000)\n"
        "return agent_qs.sum(1, keepdim=True) + torch.tanh(wide).sum(1, keepdim=True)"
    ),
    many_tables=(
        "x = agent_qs[:, :1, None] * torch.ones(1, 60, 60)\n"
        "for k in range(60):\n    x = torch.tanh(x + k)\n"
        "return x.sum((1, 2)).unsqueeze(1)"
    ),
    outer_products=(
        "x = state.unsqueeze(2) * state.unsqueeze(1)\n"
        "for _ in range(40):\n    x = torch.tanh(x @ x * 0.01)\n"
        "return agent_qs.sum(1, keepdim=True) + x.sum((1, 2)).unsqueeze(1)"
    ),
)

# ---- what a proof must not lose sight of ---------------------------------------------------------

_add(
    "unproved", SPREAD, "*",
    nan_by_zero=(
        "y = torch.log(agent_qs[:, :1] - 777.123) * 0.0\n"
        "return agent_qs.sum(1, keepdim=True) + 0.9 * torch.isnan(y).float()"
    ),
    overflow_by_zero=(
        "p = torch.exp(agent_qs[:, :1]) * 0\n"
        "return agent_qs.sum(1, keepdim=True) - 300 * torch.isnan(p).float()"
    ),
    overflow_by_zeros=(
        "p = (agent_qs * 1e37 * 1e3) @ torch.zeros(3, 1)\n"
        "return agent_qs.sum(1, keepdim=True) - 2 * (p != p).float()"
    ),
    overflow_of_product=(
        "p = (agent_qs * 1e37 * 1e3 * 0).prod(1, keepdim=True)\n"
        "return torch.maximum(agent_qs.sum(1, keepdim=True), torch.nan_to_num(p, nan=50.0))"
    ),
    nan_beyond_a_bound=(
        "p = torch.clamp(torch.log(agent_qs[:, :1] * 1e-6), min=100) == 100\n"
        "return agent_qs.sum(1, keepdim=True) + 300 * (1 - p.float())"
    ),
    nan_beside_a_condition=(
        "p = torch.exp(agent_qs[:, :1]) * 1e38 * (state[:, :1] > 1e6).float()\n"
        "return agent_qs.sum(1, keepdim=True) - 3 * torch.isnan(p).float()"
    ),
)  # fmt: skip
_NEAR = "near = ((state[:, 2:3] - 0.2837).abs() < 1e-6).float()\n"
_add(
    "unproved", SPREAD, "*",
    softplus_overflows=_NEAR + (
        "x = F.softplus(near * 89.0, beta=10, threshold=1e30)\n"
        "r = torch.nan_to_num(torch.clamp(x, max=1e6), nan=0.0, posinf=0.0, neginf=0.0)\n"
        "return (agent_qs * (1.0 - r * 0.01)).sum(1, keepdim=True)"
    ),
    hardswish_overflows=_NEAR + (
        "x = F.hardswish(1e30 + near * 2.9e38)\n"
        "r = torch.nan_to_num(torch.clamp(x, min=1e35), nan=0.0, posinf=1e35, neginf=0.0) / 1e35\n"
        "return (agent_qs * (2.5 - torch.clamp(x, max=2e38) * 1e-38)).sum(1, keepdim=True) + r * 0"
    ),
    division_by_infinity=_NEAR + (
        "r = torch.floor_divide(-near, float('inf'))\n"
        "r = torch.nan_to_num(r, nan=0.0, posinf=0.0, neginf=0.0)\n"
        "return (agent_qs * (1.0 + 5.0 * r)).sum(1, keepdim=True)"
    ),
    softmax_of_many_terms=_NEAR + (
        "others = torch.full_like(state[:, :1], -16.64).expand(-1, 1023)\n"
        "x = torch.cat([5.0 * near - 5.0, others], 1).unsqueeze(2)\n"
        "p = torch.softmax(x, dim=1)[:, 0]\n"
        "return (agent_qs * (0.99997 - p) * 1e4).sum(1, keepdim=True)"
    ),
    logarithm_of_many_terms=_NEAR + (
        "top = (near * 10.0 - 10.0).unsqueeze(2).unsqueeze(3)\n"
        "rest = torch.full_like(near, -17.0).unsqueeze(2).unsqueeze(3)\n"
        "x = torch.cat([torch.cat([top, rest], 3), rest.expand(-1, 1023, 1, 2)], 1)\n"
        "l = torch.logsumexp(x.expand(-1, 1024, 2, 2), dim=(1, 3))[:, :1]\n"
        "return (agent_qs * (1.12e-4 - l)).sum(1, keepdim=True) * 1e4"
    ),
    range_of_large_numbers=_NEAR + (
        "r = torch.arange(16777217, 16777337, 3, dtype=torch.float32)\n"
        "d = r[2] - 16777222.0\n"
        "return (agent_qs * (1 - 2 * near * (1 - d))).sum(1, keepdim=True)"
    ),
    replaced_by_a_rounded_number=_NEAR + (
        "x = torch.where(near > 0, float('nan'), 0.0)\n"
        "r = torch.nan_to_num(x, nan=0.1, posinf=0.0, neginf=0.0)\n"
        "w = torch.where(r < 0.10000000149011612, 1.0, -1.0)\n"
        "return (agent_qs * w).sum(1, keepdim=True)"
    ),
    slope_below_the_smallest=_NEAR + (
        "h = F.leaky_relu(torch.full_like(state[:, :1], -1e38), 7.1e-46) * 1e7\n"
        "return (agent_qs * (1.0 + 1.2 * near * h)).sum(1, keepdim=True)"
    ),
    power_below_the_smallest=_NEAR + (
        "h = (near * 0.0) ** 1e-46\n"
        "return (agent_qs * (1.0 - 3.0 * near * h)).sum(1, keepdim=True)"
    ),
)  # fmt: skip
_add(
    "infinite", SPREAD, "*",
    log_softmax_of_many_terms=_NEAR + (
        "others = torch.full_like(state[:, :1], -16.64).expand(-1, 1023)\n"
        "x = torch.cat([5.0 * near - 5.0, others], 1).unsqueeze(2)\n"
        "p = torch.log_softmax(x, dim=1)[:, 0]\n"
        "return agent_qs.sum(1, keepdim=True) + torch.sqrt(-3e-5 - p)"
    ),
    product_begun_with_its_bias=_NEAR + (
        "k = torch.cat([torch.ones(256), -torch.ones(256)], 0) * 8e16\n"
        "a = torch.full_like(near, 1e19).unsqueeze(2).expand(-1, 1, 512)\n"
        "b = k[None, :, None].expand(1, 512, 3) + near.unsqueeze(2) * 0\n"
        "y = torch.baddbmm((near * 1.8e38).unsqueeze(2).expand(-1, 1, 3), a, b)\n"
        "return agent_qs.sum(1, keepdim=True) + y.sum((1, 2)).unsqueeze(1) * 1e-38"
    ),
    range_that_overflows=_NEAR + (
        "r = torch.linspace(3e38, -3e38, 3)\n"
        "return agent_qs.sum(1, keepdim=True) + torch.where(near > 0, r[1], 0.0)"
    ),
)  # fmt: skip

# ---- steps that float32 meets, and real numbers do not, or in another direction ------------------

_add(
    "unproved", CLIMBING, "properties.monotone properties.greedy_is_best",
    settled_over_the_reals=(
        "h = torch.frac(torch.sin(agent_qs * 12345.6) * 437.58).abs().amin(1, keepdim=True)\n"
        "u = torch.clamp(torch.relu(h - 0.999) * 1e5, max=0.52)\n"
        "x = (u + 1e7) - 1e7\n"
        "return agent_qs.sum(1, keepdim=True) + torch.where(x > 0.9, -1000.0, 0.0)"
    ),
    quotient_settled_over_the_reals=(
        "x = (torch.clamp(agent_qs[:, :1], 0, 0.52) + 1e7) - 1e7\n"
        "part = torch.div(x, 0.9, rounding_mode='floor')\n"
        "return agent_qs.sum(1, keepdim=True) - 1000 * part"
    ),
    remainder_settled_over_the_reals=(
        "x = (torch.clamp(agent_qs[:, :1], 0, 0.52) + 1e7) - 1e7\n"
        "over = x - torch.remainder(x, 0.9)\n"
        "return agent_qs.sum(1, keepdim=True) - 1000 * over"
    ),
    floor_of_cancelled=(
        "q = agent_qs[:, :1]\nx = (q * 3 + 9e3) - (q * 2 + 9e3)\n"
        "return agent_qs.sum(1, keepdim=True) + 1000 * torch.floor(x / 700.123)"
    ),
    whole_of_cancelled=(
        "q = agent_qs[:, :1]\nx = (q * 3 + 9e3) - (q * 2 + 9e3)\n"
        "return agent_qs.sum(1, keepdim=True) + 1000 * (x / 700.123).long()"
    ),
    threshold_of_cancelled=(
        "q = agent_qs.sum(1, keepdim=True)\nx = (q * 3 + 1e4) - (q * 2 + 1e4)\n"
        "return q + torch.where(x > 623.456, 1000.0, 0.0)"
    ),
    threshold_of_a_kernel=(
        "q = agent_qs.sum(1, keepdim=True)\n"
        "return q + torch.where(torch.sigmoid(q * 0.01) > 0.99123, 1000.0, 0.0)"
    ),
)  # fmt: skip

# ---- where a range ends, as float32 has it -------------------------------------------------------

_TAG = "mpe/tag"
_AT_THE_END = (
    "s = state\n"
    "at = (s[:, :1] >= 1.001) & (s[:, :1] > 0.5) & (s[:, 1:2] <= 0.0) & (s[:, 2:3] > 0)\n"
    "at = at & (s[:, 3:4] < 0.0) & (s[:, 17:18] > 0.0) & (s[:, 19:20] < 0.0)\n"
)
_add(
    "unproved", _TAG, "properties.monotone properties.greedy_is_best",
    falls_at_an_end=_AT_THE_END
    + "return agent_qs.sum(1, keepdim=True) * torch.where(at, -1.0, 1.0)",
)  # fmt: skip
_add(
    "infinite", _TAG, "properties.finite",
    infinite_at_an_end=_AT_THE_END
    + "return agent_qs.sum(1, keepdim=True) + torch.log(torch.where(at, -1.0, 1.0))",
)  # fmt: skip

# ---- a gradient that is not finite where the value is --------------------------------------------

_RARE = "rare = (state[:, :1] - 3.25).abs() + (state[:, 1:2] + 2.75).abs() < 0.5\n"
_add(
    "infinite", SPREAD, "properties.finite_gradient",
    root_of_nothing=_RARE + (
        "root = torch.sqrt(torch.where(rare, (agent_qs[:, :1] * 0.0).abs(), 1.0))\n"
        "return agent_qs.sum(1, keepdim=True) + root"
    ),
    root_in_a_dropped_branch=_RARE + (
        "root = torch.sqrt(torch.clamp(agent_qs[:, :1], min=0.0))\n"
        "return agent_qs.sum(1, keepdim=True) + torch.where(rare, root, 0.0) * 0"
    ),
    root_below_a_whole_part=_RARE + (
        "part = torch.floor(torch.sqrt(torch.where(rare, (agent_qs[:, :1] * 0).abs(), 1.0)))\n"
        "return agent_qs.sum(1, keepdim=True) + part"
    ),
    quotient_in_a_dropped_branch=_RARE + (
        "w = torch.where(rare, 0.0, 1.0)\n"
        "return agent_qs.sum(1, True) + torch.where(rare, 0.0, agent_qs[:, :1] / w)"
    ),
)  # fmt: skip

# ---- edges that only the graph's own numbers name ------------------------------------------------

_add(
    "thin", _TAG, _FALLS,
    whole_part_of_quotient=(
        "k = torch.div(agent_qs[:, :1], 150, rounding_mode='trunc')\n"
        "return agent_qs.sum(1, keepdim=True) - 2 * k"
    ),
    fraction="return agent_qs.sum(1, keepdim=True) + 2 * torch.frac(agent_qs[:, :1] / 200)",
    saturated=(
        "full = (torch.tanh(agent_qs[:, :1]) == 1).float()\n"
        "return agent_qs.sum(1, keepdim=True) - 3 * full"
    ),
    saturated_sigmoid=(
        "full = (torch.sigmoid(agent_qs[:, :1]) >= 1).float()\n"
        "return agent_qs.sum(1, keepdim=True) - 3 * full"
    ),
    vanished=(
        "gone = (torch.exp(-agent_qs[:, :1]) == 0).float()\n"
        "return agent_qs.sum(1, keepdim=True) - 2 * gone"
    ),
    end_of_domain=(
        "over = torch.isnan(torch.sqrt(200.5 - agent_qs[:, :1])).float()\n"
        "return agent_qs.sum(1, keepdim=True) - 3 * over"
    ),
    single_value=(
        "hit = (agent_qs[:, :1] == 77.125).float()\n"
        "return agent_qs.sum(1, keepdim=True) - 2 * hit"
    ),
    dip_in_every_q=(
        "d = (agent_qs - torch.tensor([101.0, -33.0, 207.0])).square().sum(1, keepdim=True)\n"
        "return agent_qs.sum(1, keepdim=True) - 6 * torch.exp(-d)"
    ),
    cancelled_variance=(
        "x = state[:, 0:8]\n"
        "v = (x * x).mean(1, keepdim=True) - x.mean(1, keepdim=True) ** 2\n"
        "return agent_qs.sum(1, keepdim=True) * (1e4 * v + 1e-3)"
    ),
)  # fmt: skip
_add(
    "thin", "lbf/10x10-3p-3f-2s", _FALLS,
    entry_of_a_table=(
        "t = torch.cat([torch.ones(4718), torch.tensor([-1.0]), torch.ones(5281)])\n"
        "c = state[:, 0] * 1000 + state[:, 1] * 100 + state[:, 3] * 10 + state[:, 4]\n"
        "return agent_qs.sum(1, keepdim=True) * t[c.long()].unsqueeze(1)"
    ),
)  # fmt: skip
_add(
    "unproved", SPREAD, "proofs.monotone properties.monotone properties.greedy_is_best",
    steep_after_a_sum_of_exponentials=(
        "soft = torch.logsumexp(agent_qs, 1, keepdim=True)\n"
        "return torch.tanh((soft - 3.0) * 1e9) * 1000 + agent_qs.sum(1, keepdim=True)"
    ),
    steep_before_a_sum=(
        "soft = F.softplus(agent_qs * 1.3).sum(1, keepdim=True)\n"
        "return torch.sigmoid((soft - 3.0) * 1e5) * 100 + agent_qs.sum(1, keepdim=True)"
    ),
)  # fmt: skip
_add(
    "places", SPREAD, "graph.places export.eager",
    one_place_for_all=(
        "at = torch.zeros_like(agent_qs).long()\n"
        "return torch.zeros_like(agent_qs).scatter(1, at, agent_qs).sum(1, keepdim=True)"
    ),
    place_by_state=(
        "at = (state[:, 0:3] > 0).long()\n"
        "return torch.zeros_like(agent_qs).scatter(1, at, agent_qs).sum(1, keepdim=True)"
    ),
    places_that_meet_where_they_are_held=(
        "at = torch.tensor([[0, 2, 5]]).expand(state.shape[0], 3)\n"
        "return torch.zeros_like(agent_qs).scatter(1, at, agent_qs).sum(1, keepdim=True)"
    ),
    sorted_along_another=(
        "at = state[:, 0:9].reshape(-1, 3, 3).sort(1).indices\n"
        "wide = agent_qs.unsqueeze(1).expand(-1, 3, 3)\n"
        "return torch.zeros_like(wide).scatter(2, at, wide).sum(2).sum(1, keepdim=True)"
    ),
)  # fmt: skip
_add(
    "places", SPREAD, "accepted",
    sorted_along_it=(
        "at = state[:, 0:3].sort(1).indices\n"
        "return torch.zeros_like(agent_qs).scatter(1, at, agent_qs).sum(1, keepdim=True)"
    ),
    each_place_once=(
        "at = torch.tensor([[0, 2, 1]]).expand(state.shape[0], 3)\n"
        "return torch.zeros_like(agent_qs).scatter(1, at, agent_qs).sum(1, keepdim=True)"
    ),
)  # fmt: skip
_add(
    "unproved", SPREAD, "proofs.monotone properties.monotone properties.greedy_is_best",
    lost_in_a_constant=(
        "a = torch.full((1,), 1e8)\n"
        "w = (a + 1.0) - a\n"
        "return ((w - 0.5) * agent_qs * 1e-5).sum(1, keepdim=True)"
    ),
    lost_in_the_state=(
        "a = state[:, :1] * 0 + 1e8\n"
        "w = (a + 1) - a\n"
        "turns = torch.tensor([3, 2, 1.7, 2.3, 1.1, 0.9, 1.3, 2.9])\n"
        "b = ((1 + torch.cos(state[:, :8] * turns + 0.4)) * 0.5).prod(1, keepdim=True) ** 4\n"
        "return ((1 - b * (1 - w) * 3) * agent_qs).sum(1, keepdim=True)"
    ),
    lost_by_adding_at_places=(
        "y = agent_qs.sum(1, keepdim=True) * 1e-7\n"
        "at = torch.zeros_like(y).long()\n"
        "s = torch.scatter_add(torch.full_like(y, 512.0), 1, at, y)\n"
        "return 3.0 * y - (s - 512.0)"
    ),
    lost_in_a_long_sum=(
        "x = (agent_qs * 0.01 + 10.1).unsqueeze(1).expand(-1, 4000, 3)\n"
        "far = x.sum((1, 2)).unsqueeze(1) - 121200.0\n"
        "return (48.0 * agent_qs.sum(1, keepdim=True) - far) * 1e-5"
    ),
    small_as_its_rounding=(
        "y = agent_qs.sum(1, keepdim=True) * 1e-9\n"
        "s = (y + 3.0517578125e-05) + 512.0\n"
        "return 3.0 * y - (s - 512.0)"
    ),
)  # fmt: skip
_add(
    "places", SPREAD, "properties.monotone proofs.monotone accepted",
    into_one_result_of_several=(
        "least, _ = state[:, :3].sort(dim=1)\n"
        "at = torch.tensor([[2, 0]]).expand(state.shape[0], 2)\n"
        "w = torch.sigmoid(least.scatter(1, at, state[:, 3:5]))\n"
        "return (agent_qs * w).sum(1, keepdim=True)"
    ),
)  # fmt: skip

# ---- rounding that is small beside q_tot in most states, and large where a weight is small -------

_add(
    "unproved", CLIMBING, "properties.monotone",
    weight_next_to_nothing=(
        "scale = torch.exp(10 * state[:, :1] - 20)\n"
        "return (scale * agent_qs + (agent_qs * 1000.001 - agent_qs * 1000)).sum(1, keepdim=True)"
    ),
    weight_that_is_huge_elsewhere=(
        "scale = torch.exp(10 * state[:, :1])\n"
        "return (scale * agent_qs + (agent_qs * 1000.001 - agent_qs * 1000)).sum(1, keepdim=True)"
    ),
    weight_gone_in_a_window=(
        "gone = (state[:, :1] == 1) & (state[:, 1:] == 2)\n"
        "x = agent_qs * 3000.001 - agent_qs * 3000\n"
        "return (torch.where(gone, 0.0, 10.0) * agent_qs + x).sum(1, keepdim=True)"
    ),
    weight_behind_a_division=(
        "w = 1 / (1e-3 + (state[:, :1] + state[:, 1:]).abs())\n"
        "x = agent_qs * 1000.01 - agent_qs * 1000\n"
        "return (agent_qs * torch.relu(state[:, :1]) + x / (1 + w)).sum(1, keepdim=True)"
    ),
    two_agents_that_oppose=(
        "q, r = agent_qs[:, :1], agent_qs[:, 1:]\n"
        "x = (q * 1e4 + r) + (r * 1e4 + q) - 1e4 * agent_qs.sum(1, keepdim=True)\n"
        "return torch.relu(state[:, :1]) * 100 * agent_qs.sum(1, keepdim=True) + x"
    ),
    offset_in_a_window=(
        "b = 1e6 * (1 - torch.relu(state[:, :1])).clamp(min=0)\n"
        "x = (agent_qs + b) - (0.999 * agent_qs + b)\n"
        "return (torch.relu(state[:, :1]) * agent_qs + x).sum(1, keepdim=True)"
    ),
    factor_that_nearly_cancels=(
        "w = torch.exp(-3 * (state[:, :1] + 1))\n"
        "return (agent_qs * (1000 + w) - agent_qs * 1000).sum(1, keepdim=True)"
    ),
    steep_where_a_weight_is_gone=(
        "soft = torch.logsumexp(agent_qs, 1, keepdim=True)\n"
        "step = torch.tanh((soft - 3.0) * 1e5)\n"
        "return torch.relu(state[:, :1]) * 100 * agent_qs.sum(1, keepdim=True) + step"
    ),
)  # fmt: skip

# ---- kernels whose last bit falls, magnified where little else moves ----------------------------

_add(
    "unproved", FORAGING, "properties.monotone proofs.monotone",
    last_bits_of_a_soft_maximum=(  # which is of q_tot's size in one rare state alone
        "far = ((state[:, :6] - 2.0) ** 2).sum(1, keepdim=True)\n"
        "soft = (1e-09 * agent_qs - far).logsumexp(1, keepdim=True)\n"
        "return 999999999.9999999 * (soft - 0.6931472)"
    ),
    last_bits_of_a_logistic=(
        "far = ((state[:, :6] - 2.0) ** 2).sum(1, keepdim=True)\n"
        "z = F.logsigmoid(1e-10 * agent_qs - far - 1e-05) + 0.69315217\n"
        "return 10000000000.0 * z.sum(1, keepdim=True)"
    ),
)  # fmt: skip
_add(
    "unproved", CLIMBING, "properties.monotone proofs.monotone",
    last_bits_beside_a_hinge=(
        "soft = 1e7 * (F.logsigmoid(1e-7 * agent_qs) + 0.6931472)\n"
        "return (soft + 1e6 * torch.relu(agent_qs - 1000.0)).sum(1, keepdim=True)"
    ),
)  # fmt: skip

# ---- limits that the state moves, which leave the Qs next to nothing in a window of it -----------

_STEEP = "v = (1000.5 * agent_qs - 999.5 * agent_qs).mean(1, keepdim=True)\n"
_WINDOW = _STEEP + "w = torch.exp(-(((state[:, 2:3] - 3.3) * 300) ** 2))\n"
_add(
    "unproved", SPREAD, "properties.monotone",
    cap_in_a_window=_WINDOW + "return torch.minimum(v, 1024 - 2040 * w)",
    hinge_in_a_window=_WINDOW + "return torch.relu(v + 1024 - 2044 * w)",
    least_of_a_list=_WINDOW + "return torch.cat([v, 1024 - 2040 * w], 1).amin(1, keepdim=True)",
    cap_behind_a_factor=(
        _WINDOW + "return torch.relu(v + 1024 - 2047 * w) * torch.relu(state[:, 4:5])"
    ),
    softplus_in_a_window=_WINDOW + "return F.softplus(v - 1034 * w)",
    cap_where_two_columns_meet=(
        _STEEP + "d = (state[:, 2:3] - 3.3).abs() + (state[:, 3:4] + 1.7).abs()\n"
        "return torch.minimum(v, 1e4 * torch.relu(d - 1e-2) - 1023.0)"
    ),
)  # fmt: skip
_add(
    "unproved", FORAGING, "properties.monotone",
    cap_at_one_place=(
        _STEEP + "far = (state[:, :6] - 2.0).square().sum(1, keepdim=True)\n"
        "return torch.minimum(v, 600 * far - 511.5)"
    ),
)  # fmt: skip

# ---- terms that cancel altogether, and numbers that are taken away again -------------------------

_add(
    "unproved", SPREAD, "properties.monotone",
    terms_that_cancel=(
        "far = (state[:, 2:3] - 1.5).abs() + (state[:, 3:4] + 0.5).abs()\n"
        "w = 10 * torch.tanh(1e3 * far) + 1e-4\n"
        "x = (2048 * agent_qs - (683 * agent_qs + 1365 * agent_qs)).sum(1, keepdim=True)\n"
        "return w * agent_qs.sum(1, keepdim=True) + x"
    ),
    offset_behind_choices=(
        "w = torch.relu(state[:, 2:3]) * 0.1 + 3e-4\n"
        "total = agent_qs.sum(1, keepdim=True)\n"
        "y = w * (50 * agent_qs - 49 * agent_qs).sum(1, keepdim=True) + 2.2e6\n"
        "left = 2.2e6\n"
        "for _ in range(4):\n"
        "    y = y - math.floor(0.74 * left)\n"
        "    left = left - math.floor(0.74 * left)\n"
        "    y = torch.where(state[:, :1] > 1e6, total, y)\n"
        "return y - left"
    ),
    offset_taken_away_in_a_window=(
        "bump = torch.exp(-(((state[:, 2:3] - 3.3) * 300) ** 2))\n"
        "v = (50 * agent_qs - 49 * agent_qs).sum(1, keepdim=True)\n"
        "return ((1.0003 - bump) * v + 2.2e6) - 2.2e6 * bump"
    ),
    small_offset_taken_away_in_a_window=(
        "bump = torch.exp(-(((state[:, 2:3] - 3.3) * 300) ** 2))\n"
        "v = (10 * agent_qs - 9 * agent_qs).mean(1, keepdim=True)\n"
        "return ((1.001 - bump) * v + 1e5) - 1e5 * bump"
    ),
)  # fmt: skip

# ---- an offset that comes in by other ways than a plain sum -------------------------------------

_OFFSET = (
    "w = torch.where(state[:, 1:] * 2.0 > 3.0, 0.00027777772629633546, 100.0)\n"
    "v = (3.0 * agent_qs - 2.0 * agent_qs).sum(1, keepdim=True)\n"
    "g = torch.relu(state[:, :1]) * agent_qs[:, :1]\n"
    "z = torch.zeros_like(w)\n"
    "k = (state[:, 1:] * 2.0 > 3.0).long()\n"
)
_add(
    "unproved", CLIMBING, "properties.monotone",
    offset_as_a_product=(
        f"{_OFFSET}u = torch.addcmul(g, z + 2048.0, z + 2048.0)\nreturn (u + w * v) - 4194304.0"
    ),
    offset_as_a_quotient=(
        f"{_OFFSET}u = torch.addcdiv(g, z + 2048.0, z + 1 / 2048.0)\n"
        "return (u + w * v) - 4194304.0"
    ),
    offset_by_alpha=(
        f"{_OFFSET}u = torch.add(g, z + 2048.0, alpha=2048.0)\nreturn (u + w * v) - 4194304.0"
    ),
    offset_gathered=(
        f"{_OFFSET}u = torch.cat([g, z + 4194304.0], 1).gather(1, k)\n"
        "return (u + w * v) - torch.cat([z, z + 4194304.0], 1).gather(1, k)"
    ),
    offset_scattered=(
        f"{_OFFSET}u = torch.cat([g, g], 1).scatter(1, k, 4194304.0)[:, 1:]\n"
        "return (u + w * v) - torch.cat([z, z], 1).scatter(1, k, 4194304.0)[:, 1:]"
    ),
    offset_of_a_curve=(
        f"{_OFFSET}u = F.softplus(g, beta=1.652592e-07)\n"
        "return (u + w * v) - F.softplus(z, beta=1.652592e-07)"
    ),
    offset_in_many_parts=(
        f"{_OFFSET}u = torch.cat([g, (z + 65536.0).expand(-1, 64)], 1).sum(1, keepdim=True)\n"
        "return (u + w * v) - 4194304.0"
    ),
    offset_beside_a_matrix=(
        f"{_OFFSET}one = (z + 1.0).unsqueeze(2)\n"
        "u = torch.baddbmm((z + 4194304.0).unsqueeze(2), g.unsqueeze(2), one).squeeze(2)\n"
        "return (u + w * v) - 4194304.0"
    ),
    offset_over_a_divisor=(
        f"{_OFFSET}u = (z + 4194304.0) / (1.0 + 1e-6 * torch.relu(-g))\n"
        "return (u + w * v) - 4194304.0"
    ),
    offset_of_a_flat_curve=(
        f"{_OFFSET}u = 4194304.0 * torch.tanh(10.0 + torch.sigmoid(g))\n"
        "return (u + w * v) - 4194304.0"
    ),
    offset_added_at_a_place=(
        f"{_OFFSET}u = g.scatter_add(1, z.long().expand(-1, 64), (z + 65536.0).expand(-1, 64))\n"
        "return (u + w * v) - 4194304.0"
    ),
    offset_of_a_limit=(
        f"{_OFFSET}u = F.hardtanh(g, 4194304.0, 4194305.0)\nreturn (u + w * v) - 4194304.0"
    ),
)  # fmt: skip

# ---- what float32 passes, and the reals do not --------------------------------------------------

_CROSSES = (
    "y = torch.sigmoid(torch.relu(agent_qs[:, :1] * 0.0009765625) + 0.05000000074505806)\n"
    "y = y - 0.5124973966693586\n"  # above nothing over the reals, and just below it in float32
    "z = torch.relu(agent_qs[:, 1:2]) * 0.0009765625\n"
    "bump = torch.exp(5 * (torch.cos(state[:, :14] - 0.7) - 1).sum(1, keepdim=True))\n"
)
_CROSSED = "\nreturn agent_qs.sum(1, keepdim=True) + bump * 1e12 * p"
_add(
    "unproved", SPREAD, "properties.monotone",
    product_below_nothing=_CROSSES + "p = torch.cat([y, z], 1).prod(1, keepdim=True)" + _CROSSED,
    norm_below_nothing=_CROSSES + "p = torch.cat([y, z], 1).norm(dim=1, keepdim=True)" + _CROSSED,
    size_below_nothing=_CROSSES + "p = torch.abs(y)" + _CROSSED,
    square_below_nothing=_CROSSES + "p = 1e9 * torch.square(y)" + _CROSSED,
    lost_beside_a_number=(
        "m = agent_qs.mean(1, keepdim=True)\nv = 2 * m + (agent_qs[:, :1] - m)\n"
        "return (v + 4e9) - 4e9 + 1e6 * state[:, :1]"
    ),
    lost_beside_another_agent=(
        "m = agent_qs.mean(1, keepdim=True)\nv = 2 * m + (agent_qs[:, :1] - m)\n"
        "return (v + (4e9 + 1e-9 * agent_qs[:, 1:2])) - 4e9 + 1e6 * state[:, :1]"
    ),
)  # fmt: skip

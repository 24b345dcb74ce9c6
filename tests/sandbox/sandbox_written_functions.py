"""Credit functions as a language model writes them, for the made-up task below."""

from __future__ import annotations

import functools

from prompts.cards import TaskCard
from sandbox.checker import view_documents
from sandbox.export import load, trace
from sandbox.export_json import to_json
from sandbox.graph import CreditGraph
from sandbox.policy import check_source
from sandbox.reading import read_graph


def foraging_card() -> TaskCard:
    """Three agents (x, y, level), two foods that vanish, last actions, and what is never used."""
    return TaskCard.model_validate(
        {
            "name": "foraging",
            "title": "foraging",
            "prose": "Agents gather food together.",
            "n_agents": 3,
            "n_actions": 6,
            "action_names": ["none", "north", "south", "west", "east", "load"],
            "horizon": 50,
            "reward": {"low": 0, "high": 1, "meaning": "levels of the food gathered"},
            "state": [
                {"name": "agent", "shape": [3, 3], "agent_axis": 0, "kind": "integer", "low": 0,
                 "high": 7, "meaning": "x, y, level"},
                {"name": "food", "shape": [2, 3], "kind": "integer", "low": 0, "high": 7,
                 "sentinels": [-1], "sentinel_meaning": "eaten", "meaning": "x, y, level"},
                {"name": "health", "shape": [3], "agent_axis": 0, "kind": "real", "low": 0,
                 "high": 1, "meaning": "health of the agent"},
                {"name": "role", "shape": [3, 4], "agent_axis": 0, "kind": "onehot", "low": 0,
                 "high": 1, "meaning": "role of the agent"},
                {"name": "spare", "shape": [2], "kind": "real", "low": 0, "high": 0,
                 "unused": True, "meaning": "nothing"},
            ],
            "env": {"kind": "none"},
        }
    )  # fmt: skip


AGENTS = "    agents = state[:, 0:9].view(-1, 3, 3)\n"
FOODS = "    foods = state[:, 9:15].view(-1, 2, 3)\n"
HEALTH = "    health = state[:, 15:18]\n"
ROLES = "    roles = state[:, 18:30].view(-1, 3, 4)\n"
BIAS = "    bias = torch.zeros(state.shape[0], 1)\n"

WEIGHTS: dict[str, str] = {
    "levels": AGENTS + BIAS + "    return agents[:, :, 2] + 1.0, bias\n",
    "share of levels": AGENTS + BIAS + """
    levels = agents[:, :, 2]
    total = levels.sum(dim=1, keepdim=True)
    share = torch.where(total > 0, levels / total, torch.ones_like(levels) / 3)
    return share, bias
""",
    "share of levels, kept from zero": AGENTS + BIAS + """
    levels = agents[:, :, 2]
    return levels / (levels.sum(dim=1, keepdim=True) + 1e-6), bias
""",
    "closeness": AGENTS + FOODS + BIAS + """
    delta = agents[:, :, None, :2] - foods[:, None, :, :2]
    distance = delta.abs().sum(dim=-1)
    eaten = (foods[:, :, 2] <= 0).unsqueeze(1)
    distance = distance.masked_fill(eaten, 100.0)
    nearest = distance.min(dim=-1).values
    return 1.0 / (1.0 + nearest), bias
""",
    "euclidean": AGENTS + FOODS + BIAS + """
    delta = agents[:, :, None, :2] - foods[:, None, :, :2]
    distance = torch.sqrt((delta ** 2).sum(-1) + 1e-8)
    return torch.exp(-distance).sum(-1), bias
""",
    "attention over food": AGENTS + FOODS + BIAS + """
    delta = (agents[:, :, None, :2] - foods[:, None, :, :2]).float()
    score = -torch.norm(delta, dim=-1)
    alive = (foods[:, :, 2] > 0).unsqueeze(1)
    score = score.masked_fill(~alive, -1e9)
    attention = F.softmax(score, dim=-1)
    value = (attention * foods[:, :, 2].unsqueeze(1)).sum(-1)
    return torch.relu(value) + 0.1, bias
""",
    "softmax of health": HEALTH + BIAS + "    return F.softmax(health / 0.5, dim=-1), bias\n",
    "masked softmax with a seat for oneself": HEALTH + BIAS + """
    score = torch.einsum('bi,bj->bij', health, health)
    dead = (health <= 0.1).unsqueeze(1).expand(-1, 3, -1)
    self_mask = torch.eye(3).bool().unsqueeze(0)
    score = torch.where(dead & ~self_mask, torch.tensor(-math.inf), score)
    weights = F.softmax(score, dim=-1).mean(dim=1)
    return weights, bias
""",
    "one-hot roles": ROLES + BIAS + """
    gain = torch.tensor([0.5, 1.0, 1.5, 2.0])
    return (roles * gain).sum(-1) + 0.1, bias
""",
    "role by comparison": ROLES + BIAS + """
    role = roles.argmax(dim=-1)
    weights = torch.ones(state.shape[0], 3)
    weights = torch.where(role == 2, weights * 2, weights)
    weights = torch.where(role == 0, weights * 0.5, weights)
    return weights, bias
""",
    "lookup of roles": ROLES + BIAS + """
    table = torch.tensor([0.2, 0.4, 0.8, 1.6])
    return table[roles.argmax(dim=-1)], bias
""",
    "in-place writes": AGENTS + HEALTH + BIAS + """
    weights = torch.ones(state.shape[0], 3)
    for i in range(3):
        near = (agents[:, i, 0] - 3).abs() <= 1
        weights[:, i] = torch.where(near, 2.0, 1.0) * health[:, i]
        weights[:, i] += 0.5
    weights[health <= 0] = 0.0
    return weights, bias
""",
    "counts": AGENTS + FOODS + """
    remaining = (foods[:, :, 2] > 0).float().sum(dim=1, keepdim=True)
    adjacent = ((agents[:, :, None, :2] - foods[:, None, :, :2]).abs().sum(-1) == 1).float().sum(-1)
    weights = 1.0 + adjacent / remaining.clamp(min=1)
    bias = 0.1 * remaining
    return weights, bias
""",
    "safe divisor": HEALTH + AGENTS + BIAS + """
    total = agents[:, :, 2].sum(dim=1, keepdim=True)
    safe = torch.where(total == 0, torch.ones_like(total), total)
    return health / safe, bias
""",
    "standardised": AGENTS + BIAS + """
    x = agents[:, :, 2].float()
    z = (x - x.mean(dim=1, keepdim=True)) / (x.std(dim=1, keepdim=True) + 1e-6)
    return torch.sigmoid(z), bias
""",
    "normalised direction": AGENTS + BIAS + """
    unit = F.normalize(agents[:, :, :2], dim=-1)
    return unit.abs().sum(-1) + 0.2, bias
""",
    "ranks": AGENTS + BIAS + """
    order = agents[:, :, 2].sort(dim=1).indices
    return 1.0 / (1.0 + order), bias
""",
    "angles": AGENTS + BIAS + """
    angle = torch.atan2(agents[:, :, 1] - 3.5, agents[:, :, 0] - 3.5)
    return 1.0 + torch.cos(angle), bias
""",
    "helper": HEALTH + BIAS + "    return smooth(health), bias\n\n",
    "log scale": AGENTS + BIAS + "    return torch.log1p(agents[:, :, 2]), bias\n",
    "powers": HEALTH + BIAS + "    return torch.pow(0.9, health) * health ** 1.5 + 0.1, bias\n",
    "distance matrix": AGENTS + """
    p = agents[:, :, :2]
    d = ((p.unsqueeze(1) - p.unsqueeze(2)) ** 2).sum(-1).sqrt()
    weights = 1.0 / (1.0 + d.sum(-1) / 2)
    bias = -d.mean(dim=(1, 2)).unsqueeze(1)
    return weights, bias
""",
    "bounded": AGENTS + BIAS + "    return (agents[:, :, 2] / 7.0).clamp(0.1, 1.0), bias\n",
    "layer norm": AGENTS + BIAS + """
    return torch.sigmoid(F.layer_norm(agents[:, :, 2], (3,))), bias
""",
}  # fmt: skip

MIXING: dict[str, str] = {
    "steeper above zero": """
    return torch.where(agent_qs > 0, 2.0 * agent_qs, agent_qs).sum(dim=1, keepdim=True)
""",
    "sum": "    return agent_qs.sum(dim=1, keepdim=True)\n",
    "mean": "    return agent_qs.mean(dim=-1, keepdim=True)\n",
    "health weighted": HEALTH + "    return (agent_qs * health).sum(dim=1, keepdim=True)\n",
    "one minus": HEALTH
    + """
    return (agent_qs * (1 - health)).sum(dim=1, keepdim=True) + agent_qs.mean(1, keepdim=True)
""",
    "one minus a share": AGENTS
    + """
    far = 1 - (agents[:, :, 0] / 7.0)
    return (agent_qs * far).sum(dim=1, keepdim=True)
""",
    "softmax weights": AGENTS
    + """
    weights = F.softmax(agents[:, :, 2], dim=1)
    return torch.bmm(weights.unsqueeze(1), agent_qs.unsqueeze(2)).squeeze(-1)
""",
    "guarded share": AGENTS
    + """
    levels = agents[:, :, 2]
    total = levels.sum(1, keepdim=True)
    weights = torch.where(total > 0, levels / total, torch.full_like(levels, 1 / 3))
    return (weights * agent_qs).sum(1, keepdim=True)
""",
    "soft maximum": "    return torch.logsumexp(agent_qs, dim=1, keepdim=True)\n",
    "bent": HEALTH
    + """
    inner = F.elu((agent_qs * health.abs()).sum(1, keepdim=True))
    return inner + 0.5 * torch.tanh(agent_qs).sum(1, keepdim=True)
""",
    "leaky": "    return F.leaky_relu(agent_qs, 0.1).sum(dim=1, keepdim=True)\n",
    "smooth": "    return F.softplus(agent_qs).sum(dim=1, keepdim=True)\n",
    "largest": """
    best = agent_qs.max(dim=1, keepdim=True).values
    return best + 0.1 * agent_qs.sum(1, keepdim=True)
""",
    "team mates": AGENTS
    + """
    p = agents[:, :, :2]
    d = (p.unsqueeze(1) - p.unsqueeze(2)).abs().sum(-1)
    near = (d <= 2).float()
    mixed = torch.bmm(near, agent_qs.unsqueeze(-1)).squeeze(-1)
    return (mixed / near.sum(-1)).sum(1, keepdim=True)
""",
    "written in place": AGENTS
    + """
    q_tot = torch.zeros(agent_qs.shape[0], 1)
    for i in range(3):
        q_tot[:, 0] += agent_qs[:, i] * agents[:, i, 2]
    return q_tot
""",
    "sorted": """
    ranked = agent_qs.sort(dim=1, descending=True).values
    return (ranked * torch.tensor([0.5, 0.3, 0.2])).sum(1, keepdim=True)
""",
}

REFUTABLE: dict[str, str] = {
    "difference": "    return agent_qs[:, :1] - agent_qs[:, 1:2]\n",
    "attention over Qs": """
    weights = F.softmax(agent_qs, dim=1)
    return (weights * agent_qs).sum(1, keepdim=True)
""",
    "pole": "    return -1.0 / agent_qs.sum(1, keepdim=True)\n",
}
"""Mixing forms that are not monotone."""

HELPER = "def smooth(x):\n    return torch.sigmoid(4 * (x - 0.5)) + 0.1\n\n"


def source_of(name: str) -> str:
    """The whole source of a function above."""
    if name in WEIGHTS:
        head = HELPER if name == "helper" else ""
        return f"{head}def tfcaf(state):\n{WEIGHTS[name].strip(chr(10))}\n"
    body = {**MIXING, **REFUTABLE}[name]
    return f"def tfcaf(agent_qs, state):\n{body.strip(chr(10))}\n"


def export(source: str, card: TaskCard) -> CreditGraph:
    """A source as an ungated graph, in this process."""
    views = view_documents(card)
    checked = check_source(source, {name: view["text"] for name, view in views.items()})
    weights_form = "agent_qs" not in checked.parameters
    made = trace(load(checked, views), card.n_agents, card.state_dim, weights_form)
    data = to_json(made, card.n_agents, card.state_dim, card.schema_hash(), weights_form)
    return read_graph(data)


@functools.cache
def graph_of(name: str) -> CreditGraph:
    """The ungated graph of a function above."""
    return export(source_of(name), foraging_card())

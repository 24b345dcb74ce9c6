"""Credit functions whose weights are known, for several tests."""

LEADER = """
def tfcaf(state):
    last = state[:, 0:2]
    weights = torch.stack([1.0 + 0.5 * torch.tanh(last[:, 1]), 0.8 + 0.0 * last[:, 0]], dim=1)
    bias = 0.1 * last[:, 0:1]
    return weights, bias
"""
SOFT_MINIMUM = """
def tfcaf(agent_qs, state):
    scale = 1.0 + 0.1 * state[:, 0:1] * state[:, 1:2]
    return -torch.logsumexp(-agent_qs, dim=1, keepdim=True) * torch.exp(0.2 * scale)
"""
AGAINST = """
def tfcaf(state):
    weights = torch.stack([torch.ones_like(state[:, 0]), -0.5 - state[:, 1] ** 2], dim=1)
    return weights, torch.zeros_like(state[:, 0:1])
"""

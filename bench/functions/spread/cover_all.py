"""mpe/spread-3: an agent counts by the landmark that it covers best, the team by the one left open.

Written over the named parts of the state, in the mixing form.
"""


def tfcaf(agent_qs, agent_landmarks):  # type: ignore[no-untyped-def]
    distance = length(agent_landmarks)  # [B, agents, landmarks]
    duty = torch.softmax(-3.0 * distance, dim=1).amax(dim=2)
    left_open = scaled(distance.amin(dim=1), 0, 2).amax(dim=1, keepdim=True)
    weighted = ((0.5 + duty) * agent_qs).sum(dim=1, keepdim=True)
    return weighted + left_open * soft_min(agent_qs, 0.5)

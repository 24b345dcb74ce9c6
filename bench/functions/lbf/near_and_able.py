"""lbf/8x8-2p-2f-coop-2s: who stands near food, and what they can lift of it, alone and together.

Written over the named parts of the state, with helpers only.
"""


def tfcaf(agent_position, agent_level, food_position, food_level):  # type: ignore[no-untyped-def]
    distance = pairwise_distance(agent_position, food_position)
    there = food_level > 0
    closeness = near(nearest(distance, there), 2.0)
    need = at_nearest(distance, food_level, there)
    able = fraction_of(agent_level, need)
    weights = 0.5 + closeness * (0.5 + able + others_mean(closeness))
    return weights, -0.1 * count(there)

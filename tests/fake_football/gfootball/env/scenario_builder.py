PLAYERS = {
    "academy_3_vs_1_with_keeper": (4, 2),
    "academy_pass_and_shoot_with_keeper": (3, 2),
    "academy_counterattack_easy": (11, 11),
    "academy_deadly": (3, 2),
    "academy_raising": (3, 2),
}


def all_scenarios() -> list[str]:
    return list(PLAYERS)

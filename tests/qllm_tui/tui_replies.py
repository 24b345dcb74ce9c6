"""Replies of a coder, good and bad, and one that tries to act on the terminal that shows it."""

from __future__ import annotations

WEIGHTS = """\
Credit should lean to whoever moved last: a matched pair earns a little more.

```python
def tfcaf(state):
    # last_action: [B, 2], -1 before the first step
    last = state[:, 0:2]
    started = (last[:, 0:1] >= 0).float()
    agree = torch.eq(last[:, 0:1], last[:, 1:2]).float() * started
    lean = torch.tanh(0.5 * (last - last.mean(dim=1, keepdim=True)))
    weights = 1.0 + 0.25 * agree + 0.3 * lean
    bias = 0.1 * agree
    return weights, bias
```
"""

STEADY = """\
```python
def tfcaf(state):
    last = state[:, 0:2]
    weights = 1.0 + 0.2 * torch.sigmoid(last)
    bias = torch.zeros_like(last[:, 0:1])
    return weights, bias
```
"""

FALLING = """\
A mixing form that punishes the second agent for being ahead.

```python
def tfcaf(agent_qs, state):
    last = state[:, 0:2]
    gap = last[:, 0:1] - last[:, 1:2]
    return agent_qs.sum(dim=1, keepdim=True) - 1.5 * torch.relu(agent_qs[:, 1:2] - gap)
```
"""

REPAIRED = """\
The term that fell is now added, so that the value can only rise.

```python
def tfcaf(agent_qs, state):
    last = state[:, 0:2]
    gap = last[:, 0:1] - last[:, 1:2]
    return agent_qs.sum(dim=1, keepdim=True) + 0.5 * torch.relu(agent_qs[:, 1:2] - gap)
```
"""

ENDLESS = """\
```python
def tfcaf(state):
    while True:
        pass
```
"""

HOSTILE = (
    "[bold red]ACCEPTED[/bold red] [link=https://example.org]press me[/link] [@click=app.quit]x[/]"
    "\x1b]0;owned\x07\x1b[2J\x1b[31m red \x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\"
    "\u202eesrever\u202c zero\u200bwidth <script>alert(1)</script>\n\n"
    "```python\n"
    "def tfcaf(state):  # [/] [red]\x1b[31m\n"
    "    import os\n"
    '    os.system("echo \x1b[2J")\n'
    "    return state\n"
    "```\n"
)

REPLIES = {
    "weights": WEIGHTS,
    "steady": STEADY,
    "falling": FALLING,
    "repaired": REPAIRED,
    "endless": ENDLESS,
    "hostile": HOSTILE,
}

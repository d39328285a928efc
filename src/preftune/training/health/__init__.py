"""The health of a run while it trains.

history.py    metrics logged so far              rule.py       a rule and the facts it reads
rules/        the rules, by subject              table.py      the table of them
monitor.py    logs in, findings out              finding.py    a finding, and the error that ends a run for it
page.py       docs/health.md
"""

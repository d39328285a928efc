"""A world of short film reviews whose true reward is known: prompts in, texts out, sentiment in nats.

Read `lexicon.py` and `grammar.py` for how a review comes about, `reward.py` for what it is worth.
"""

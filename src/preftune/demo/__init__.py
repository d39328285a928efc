"""The demo: a world of film reviews with a known reward, and its run."""

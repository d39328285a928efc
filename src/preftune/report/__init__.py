"""Reports: pages and pictures of runs, comparisons, sweeps, data checks and methods.

run_record.py    a run's folder as reports read it         verdict.py facts.py generations.py   contents of a page
panels.py curves.py pictures.py    pictures of a run        run_page.py comparison.py            pages of runs
sweep_page.py check_page.py losses_page.py    other pages   page.py templates/    the layout and style of all pages
"""

from preftune.report.curves import draw_curves

__all__ = ["draw_curves"]

"""Reports: pages and pictures of runs and of data.

run_record.py      the folder of a run, read            logs.py        what it logged
verdict.py lacking.py facts.py data_facts.py health_rules.py generations.py run_files.py    what a page says
panels.py curves.py evaluation_pictures.py plots.py svg.py colours.py                       its pictures
run_page.py        the page of a run                    comparison_page.py   of several
check_page.py      of a data check                      losses_page.py       of all methods
templates/         the one style sheet and layout of all pages
"""

from preftune.report.curves import draw_curves

__all__ = ["draw_curves"]

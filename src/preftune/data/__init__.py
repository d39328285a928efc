"""From rows to prompt groups: sources, formats, views, splits by prompt."""

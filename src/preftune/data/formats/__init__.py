"""Row layouts: how rows become prompt groups."""

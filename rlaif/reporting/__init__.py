"""Reports of runs for people: tables in the terminal, and `report.html`."""

"""Generated questions about fictional filings, for the demo."""

"""The demo's own questions, about fictional filings."""

"""Bootstrap intervals and agreement."""

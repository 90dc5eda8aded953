"""What the user asked for, as frozen data."""

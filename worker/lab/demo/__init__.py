"""What the demonstration shows: its pictures and its contact sheet."""

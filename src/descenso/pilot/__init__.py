"""method="auto": which method, and how far, with no knob for the user to turn."""

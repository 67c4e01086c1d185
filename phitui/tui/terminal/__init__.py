"""The terminal itself: what is written to it, its mouse, clipboard, editor and hangup."""

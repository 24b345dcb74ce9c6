"""What the screens show, read from the run store. Nothing here knows Textual."""

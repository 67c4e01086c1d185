"""What the monitor shows, as rows of text: nothing here knows Textual but `canvas`, which paints them."""

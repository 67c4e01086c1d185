"""Models: which there are, where they lie, and how one becomes a CTranslate2 folder."""

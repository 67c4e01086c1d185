"""Charts, tables and bars as rows of cells: monitor and tuner paint with them."""

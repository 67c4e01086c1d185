"""The picture of the tuner: charts, tables and answers as rows of cells."""
